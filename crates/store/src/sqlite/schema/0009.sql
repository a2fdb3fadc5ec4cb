-- Schema version 9: how many messages an account may hold, as quota has it of octets. NULL: what the configuration says;
-- -1: no limit.
ALTER TABLE account ADD COLUMN quota_messages INTEGER;
