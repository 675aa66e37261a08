"""A head is a socket that listens, or does not."""

import socket
import threading

from tune_cnn.search.head_watch import head_watched


def listening(port: int = 0) -> socket.socket:
    head = socket.create_server(("127.0.0.1", port))
    head.listen()
    return head


def test_a_head_that_falls_silent_is_told_of_once_and_so_is_its_return() -> None:
    told: list[str] = []
    lost, back = threading.Event(), threading.Event()

    def say(text: str) -> None:
        told.append(text)
        (back if lost.is_set() else lost).set()

    head = listening()
    port = head.getsockname()[1]
    with head_watched(f"127.0.0.1:{port}", say, seconds_between=0.02, silent_seconds=0.1):
        assert not lost.wait(0.3)
        head.close()
        assert lost.wait(20)
        assert not back.wait(0.3), "once is enough"
        head = listening(port)
        assert back.wait(20)
    head.close()
    first, second = told
    assert first.startswith(f"Ray no longer answers at 127.0.0.1:{port}, where its head is; ")
    assert second == f"Ray answers again at 127.0.0.1:{port}"
