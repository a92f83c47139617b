"""The echo workload of a lab: says which pod and node answered, over TCP (HTTP) and UDP.

TCP 8080: one HTTP answer per connection, or for a client that says `stay` one line for each of its
lines while it stays; UDP 8080: the same text as a datagram. Uses only Debian's python3-minimal.
"""

import os
import socket
import threading

WHO = f"pod={socket.gethostname()} node={os.environ.get('NODE_NAME', '')}"


def answer(client: str, text: str) -> bytes:
    return f"{WHO} client={client} {text}\n".encode()


def serve_udp() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 8080))
    while True:
        data, client = server.recvfrom(2048)
        server.sendto(answer(client[0], f"udp={data.decode(errors='replace').strip()}"), client)


def serve_one(connection: socket.socket, client: str) -> None:
    with connection:
        connection.settimeout(10)
        try:
            request = connection.recv(4096).decode(errors="replace")
            while request.startswith("stay"):
                connection.settimeout(600)
                connection.sendall(answer(client, "stay"))
                request = connection.recv(4096).decode(errors="replace")
                if not request:
                    return
            body = answer(client, f"path={request.split(' ')[1] if ' ' in request else '-'}")
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
        except OSError:
            return


def serve_tcp() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("0.0.0.0", 8080))
    server.listen(128)
    while True:
        connection, client = server.accept()
        threading.Thread(target=serve_one, args=(connection, client[0]), daemon=True).start()


threading.Thread(target=serve_udp, daemon=True).start()
serve_tcp()
