"""By e-mail, through whatever backend Django is set to."""

from smtplib import SMTPException, SMTPRecipientsRefused

from django.core.mail import EmailMessage

from .base import Message, Refused, Target, Unavailable


class EmailNotifier:
    def send(self, target: Target, message: Message) -> None:
        """One message to all addresses. The Message-ID is the key, so that mail programs show a repeat once."""
        headers = {"Message-ID": f"<{message.key}@cube>", "Auto-Submitted": "auto-generated"}
        subject = " ".join(message.subject.split())  # no line breaks: they would begin a new header
        mail = EmailMessage(subject=subject, body=message.text, to=list(target.addresses), headers=headers)
        try:
            mail.send()
        except SMTPRecipientsRefused:
            raise Refused("The mail server refused every address. Check the channel's addresses.") from None
        except (SMTPException, OSError) as error:
            raise Unavailable(f"The mail server did not take it: {type(error).__name__}.") from None
