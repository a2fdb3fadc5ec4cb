-- Schema version 8: searches compare in another way (i;unicode-casemap), and sketches are made of what they compare. Messages
-- of before have none any more, and are opened.
DELETE FROM text_sketch;
UPDATE content SET sketch = NULL WHERE sketch IS NOT NULL;
