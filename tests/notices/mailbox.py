"""A mail server: it writes each message that it takes to DIRECTORY/N; says its port first. It refuses one address."""
import asyncio
import sys

from aiosmtpd.smtp import SMTP

directory = sys.argv[1]


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
            file.write(envelope.content)
        import os
        os.rename(f"{directory}/{self.count}.new", f"{directory}/{self.count}")
        return "250 taken"


async def main():
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
