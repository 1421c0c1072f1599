"""Clients that ping and move packets through a proxy, as many as you have machines for (docs/load.md)."""

from locust import between, task

from relay.load import FrameworkUser


class Client(FrameworkUser):
    """One of them: ten pings for three small packets and a large one."""

    wait_time = between(0.5, 1.5)

    @task(10)
    def ping_the_server(self):
        self.ping()

    @task(3)
    def send_a_packet(self):
        self.echo(1024)

    @task(1)
    def fetch_a_large_one(self):
        self.fetch(100_000)
