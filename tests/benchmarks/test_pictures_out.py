"""The benchmark of pictures on their way out, in the form that needs no GPU."""

from benchmarks import pictures_out


def test_planes_are_half_of_rgb(capsys, monkeypatch):
    monkeypatch.setattr(pictures_out, "REPEATS", 2)
    pictures_out.main(["--part", "host"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "to frames" in line]
    assert [row[1] for row in rows] == ["RGB, to frames", "planes, to frames"] * 2
    megabytes = [float(row[2]) for row in rows]
    assert megabytes[1::2] == [round(rgb / 2, 1) for rgb in megabytes[::2]]
