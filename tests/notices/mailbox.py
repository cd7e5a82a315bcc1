"""A mail server: it writes each message that it takes to DIRECTORY/N; says its port first. It refuses one address.

WAY is `none`, or `starttls` or `tls` with the CERTIFICATE and its KEY: then it wants the user ops and a password."""
import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

directory, way, *files = sys.argv[1:]


class Mailbox:
    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        with open(f"{directory}/{self.count}.new", "wb") as file:
            file.write(f"From-Envelope: {envelope.mail_from}\nTo-Envelope: {envelope.rcpt_tos}\n".encode())
            file.write(f"Authenticated: {session.authenticated}\n".encode())
            file.write(envelope.content)
        os.rename(f"{directory}/{self.count}.new", f"{directory}/{self.count}")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, given):
    if (given.login, given.password) == (b"ops", b"sesame-open"):
        return AuthResult(success=True)
    # As a careless server does.
    return AuthResult(success=False, handled=False, message=f"535 {given.password.decode()} is wrong")


async def main():
    mailbox, context, more = Mailbox(), None, {}
    if way != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        # It does not know of the TLS that is around it.
        more = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": way == "starttls"}
    if way == "starttls":
        more |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, **more), "127.0.0.1", 0, ssl=context if way == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
