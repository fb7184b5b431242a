"""What a running stream listens on: its port, and the ranks' meeting places, all of them on loopback."""

import psutil

from tests.system.program import running


def test_only_the_server_and_the_ranks_listen_and_only_on_loopback(tmp_path):
    with running("layout=cpu", out=tmp_path / "out") as program:
        program.wait_until_ready()
        family = program.family()
        open_ones = [(process.pid, c) for process in family for c in process.net_connections(kind="inet")]
    listening = {(pid, c.laddr.ip, c.laddr.port) for pid, c in open_ones if c.status == psutil.CONN_LISTEN}
    assert {ip for _, ip, _ in listening} == {"127.0.0.1"}
    by_process = {pid: {port for owner, _, port in listening if owner == pid} for pid in {p for p, _, _ in listening}}
    main = program.process.pid
    assert program.port in by_process[main]
    serving = {pid for pid, ports in by_process.items() if program.port in ports}
    assert serving == {main}
    remote = {c.raddr.ip.removeprefix("::ffff:") for _, c in open_ones if c.raddr}
    assert remote <= {"127.0.0.1"}
    assert [c for _, c in open_ones if c.type.name == "SOCK_DGRAM"] == []  # nobody watches
