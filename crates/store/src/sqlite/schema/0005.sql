-- Schema version 5: how much an account may hold, in octets. NULL: what the configuration says; -1: no limit.
ALTER TABLE account ADD COLUMN quota INTEGER;
