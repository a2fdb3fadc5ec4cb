-- Schema version 7: the text that is searched of quoted-printable and base64 is decoded otherwise (white space before line
-- ends goes, missing padding loses nothing), so that sketches of texts made before could rule out what is there. Those
-- messages are opened by searches in bodies. What is searched of headers is the same.
DELETE FROM text_sketch;
