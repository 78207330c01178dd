"""Receivers of notifications made of other people's parts: webhooks verified by `standardwebhooks`, mail taken by `aiosmtpd`.

Writes what it took, one JSON object a line, to `got.jsonl`; where it listens to `ports.json`. The key of the webhook is in the file
`key`. While there is a file `broken`, webhooks are answered 500.
"""

import asyncio
import email.policy
import http.server
import json
import os
import ssl
import threading

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from standardwebhooks import Webhook

lock = threading.Lock()


def took(**what):
    with lock, open("got.jsonl", "a") as file:
        file.write(json.dumps(what) + "\n")


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        broken = os.path.exists("broken")
        # Raises unless the signature is good and the moment near.
        message = Webhook(open("key").read().strip()).verify(body, {k.lower(): v for k, v in self.headers.items()})
        took(kind="webhook", id=self.headers["webhook-id"], type=message["type"], job=message["data"].get("job"), broken=broken)
        self.send_response(500 if broken else 204)
        self.end_headers()

    def log_message(self, *words):
        pass


class Inbox:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        took(kind="mail", tls=server.transport.get_extra_info("sslcontext") is not None, user=session.auth_data, to=envelope.rcpt_tos,
             sender=envelope.mail_from, subject=message["subject"], headers=message.keys(), text=message.get_content())
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"pond", b"hunter2-squeamish")
    return AuthResult(success=good, handled=False, auth_data=data.login.decode() if good else None)


authority = trustme.CA()
authority.cert_pem.write_to_path("ca.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("localhost").configure_cert(context)

hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
threading.Thread(target=hook.serve_forever, daemon=True).start()


async def main():
    loop = asyncio.get_running_loop()
    guard = {"authenticator": authenticate, "auth_required": True, "hostname": "localhost"}
    starttls = await loop.create_server(lambda: SMTP(Inbox(), tls_context=context, require_starttls=True, **guard), "127.0.0.1", 0)
    implicit = await loop.create_server(lambda: SMTP(Inbox(), auth_require_tls=False, **guard), "127.0.0.1", 0, ssl=context)
    plain = await loop.create_server(lambda: SMTP(Inbox(), hostname="localhost"), "127.0.0.1", 0)
    port = lambda server: server.sockets[0].getsockname()[1]
    ports = {"hook": hook.server_port, "starttls": port(starttls), "implicit": port(implicit), "plain": port(plain)}
    with open("ports.new", "w") as file:
        json.dump(ports, file)
    os.rename("ports.new", "ports.json")
    await asyncio.Event().wait()


asyncio.run(main())
