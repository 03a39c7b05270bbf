import socket

import pytest

from decametre.training.connections import Connections, connected_sockets


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        yield client, accepted, server
        client.close()
        accepted.close()


def test_connections_are_listed_and_listening_sockets_are_not(pair):
    client, accepted, server = pair
    found = connected_sockets()
    assert {client.fileno(), accepted.fileno()} <= found
    assert server.fileno() not in found
    assert connected_sockets() == found  # listing them opens no descriptor


def test_a_wait_ends_when_the_connections_opened_meanwhile_are_shut_down(pair):
    _, earlier, server = pair
    connections = Connections()
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    connections.complete()
    connections.shut_down()
    with client, accepted:
        assert client.recv(1) == b""
    earlier.setblocking(False)
    with pytest.raises(BlockingIOError):
        earlier.recv(1)
