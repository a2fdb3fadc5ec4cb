//! What every implementation of the store's traits must do. The cases know the traits alone; [`suite`] turns them
//! into tests of one implementation.

pub(crate) mod accounts;
pub(crate) mod annotations;
pub(crate) mod events;
pub(crate) mod flags;
pub(crate) mod folders;
pub(crate) mod keys;
pub(crate) mod mailboxes;
pub(crate) mod many;
pub(crate) mod queue;

/// Makes a test of each case; `$open` returns a fresh store and what keeps it alive.
macro_rules! suite {
    ($open:ident) => {
        $crate::conformance::suite!($open; accounts:
            r07_every_account_gets_salts_of_its_own,
            an_account_has_its_mailboxes_from_the_start,
            an_address_is_given_out_once,
            ids_are_never_given_out_again,
            an_address_leads_to_its_account,
            what_is_removed_is_gone,
            a_reset_needs_an_account,
            accounts_are_listed_by_address,
            enrolment_needs_the_code,
            a_code_can_be_judged_without_using_it,
            a_login_salt_serves_one_account,
            enrolling_again_withdraws_the_key,
            enrolling_again_without_a_key_keeps_the_salt,
            app_passwords_are_added_listed_revoked,
            app_passwords_have_limits,
            the_server_secret_stays,
        );
        $crate::conformance::suite!($open; keys:
            r05_r28_a_rotation_is_one_change,
            r11_no_key_and_no_account_are_alike,
            a_key_without_a_statement_keeps_the_chain,
            of_two_changes_of_one_state_one_wins,
            r14_a_salt_is_reset_where_no_key_hangs_on_it,
            xpasswd_replaces_the_login,
            xpasswd_refuses_a_salt_in_use,
            a_staged_keyring_must_replace_the_current_one,
            keyrings_are_compared_and_swapped,
            keys_need_an_account,
        );
        $crate::conformance::suite!($open; folders:
            mailboxes_are_made_with_the_levels_above,
            names_are_checked,
            special_use_is_unique,
            deleting_leaves_children,
            a_deleted_mailbox_is_gone_for_its_sessions,
            a_name_used_again_has_another_uid_validity,
            renaming_takes_the_children_along,
            a_name_leads_where_it_leads_now,
            renaming_is_refused,
            renaming_inbox_moves_its_messages,
            subscriptions_are_names,
        );
        $crate::conformance::suite!($open; annotations:
            annotations_are_set_changed_and_removed,
            an_annotation_belongs_to_one_mailbox_of_one_account,
            annotations_go_with_their_mailbox,
            a_change_is_all_or_nothing,
            annotations_have_limits,
            changes_are_told_by_number,
            a_special_use_is_given_and_taken,
        );
        $crate::conformance::suite!($open; mailboxes:
            messages_come_back_octet_for_octet,
            appending_gives_ascending_uids,
            replacing_does_both_or_neither,
            an_append_is_all_or_nothing,
            counters_follow,
            indexes_come_back,
            heads_are_the_first_octets,
            copies_share_content,
            copying_takes_flags_and_keywords_along,
            moving_leaves_nothing_behind,
            copying_and_moving_within_one_mailbox,
            copying_from_or_to_nowhere_is_refused,
            expunge_takes_deleted_messages_only,
            expunged_uids_are_told_and_never_reused,
            expunged_content_stays_readable_for_a_while,
            changes_tell_all_since_a_modseq,
            mailboxes_are_found_by_name,
            keywords_of_a_mailbox_stay_known,
            statuses_come_together,
            contents_are_opened_together,
            watchers_wake_after_every_change,
            many_messages_are_expunged_and_flagged,
            a_maildrop_counts_the_octets_of_lines,
            removal_takes_what_is_named_whatever_its_flags,
        );
        $crate::conformance::suite!($open; events:
            listeners_hear_what_happens_to_messages,
            listeners_hear_of_names,
            who_makes_a_change_does_not_hear_of_it,
            a_listener_that_is_far_behind_is_told_so,
            mailboxes_are_named,
        );
        $crate::conformance::suite!($open; many:
            a_scan_reads_sketches_of_what_is_open,
            a_scan_ends_where_something_decides,
            a_scan_looks_at_flags_and_keywords,
            what_is_loaded_is_what_is_asked_for,
            a_load_ends_where_its_room_does,
        );
        $crate::conformance::suite!($open; flags:
            flags_are_added_removed_replaced,
            keywords_keep_the_spelling_first_seen,
            a_store_that_changes_nothing_has_no_modseq,
            unchanged_since_leaves_changed_messages_alone,
            keywords_are_checked,
            flags_need_a_mailbox,
        );
        $crate::conformance::suite!($open; queue:
            an_acceptance_is_all_or_nothing,
            accepted_mail_is_delivered_and_queued,
            bodies_in_the_queue_come_back,
            an_entry_is_claimed_by_one,
            a_lease_ends,
            a_retry_is_due_later,
            a_bounce_is_accepted_with_the_settlement,
            settling_twice_is_refused,
            the_queue_tells_when_it_changed,
            the_queue_keeps_its_order,
        );
    };
    ($open:ident; $group:ident: $($case:ident),+ $(,)?) => {
        mod $group {
            $(
                #[tokio::test]
                async fn $case() {
                    let (store, _keep) = super::$open();
                    $crate::conformance::$group::$case(store).await;
                }
            )+
        }
    };
}
pub(crate) use suite;
