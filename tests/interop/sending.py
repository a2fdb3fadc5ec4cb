"""Python's smtplib against a bridge's submission: sending.py HOST PORT CA USER TO REFUSED, the password in PASSWORD.
Prints `ok`."""
import email.message, os, smtplib, ssl, sys

HOST, PORT, CA, USER, TO, REFUSED = sys.argv[1], int(sys.argv[2]), *sys.argv[3:7]
PNG = bytes(range(256)) * 40


def connect(password=os.environ["PASSWORD"]):
    connection = smtplib.SMTP_SSL(HOST, PORT, context=ssl.create_default_context(cafile=CA), timeout=60)
    connection.login(USER, password)
    return connection


def message(to):
    made = email.message.EmailMessage()
    made["From"], made["To"], made["Subject"] = f"Alice <{USER}>", to, "Größe 9"
    made["Message-ID"], made["Bcc"] = "<9@smtplib.example>", "eve@example.org"
    made.set_content("topic66, größer\n.\n..\nFrom here\n")
    made.add_alternative("<p>topic66</p>", subtype="html")
    made.add_attachment(PNG, maintype="image", subtype="png", filename="Größe.png")
    return made


with connect() as connection:
    # A field of blind copies it takes out itself; 8-bit text it encodes, or not (BODY=8BITMIME).
    assert connection.send_message(message(TO), to_addrs=[TO]) == {}
    body = "Subject: raw\r\nFrom: {}\r\nTo: {}\r\n\r\nbare größer topic67\r\n".format(USER, TO).encode()
    assert connection.sendmail(USER, [TO], body, ["BODY=8BITMIME"]) == {}
    # One of two is refused: told by name, in words, and the other one gets it.
    refused = connection.sendmail(USER, [TO, REFUSED], body.replace(b"raw", b"raw 2"))
    assert list(refused) == [REFUSED], refused
    code, words = refused[REFUSED]
    assert code == 550 and b"has no key" in words and REFUSED.encode() in words, refused
    # All are refused.
    try:
        connection.sendmail(USER, [REFUSED], body)
        raise SystemExit("sent")
    except smtplib.SMTPRecipientsRefused as error:
        assert b"has no key" in error.recipients[REFUSED][1], error
    # Another's name as sender.
    try:
        connection.sendmail("eve@example.org", [TO], body)
        raise SystemExit("sent")
    except smtplib.SMTPSenderRefused as error:
        assert USER.encode() in error.smtp_error, error
try:
    connect("wrong")
    raise SystemExit("a wrong password was taken")
except smtplib.SMTPAuthenticationError as error:
    assert error.smtp_code == 535 and b"sealpost bridge info" in error.smtp_error, error
print("ok")
