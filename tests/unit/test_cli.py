"""The command line: what `plan` and `doctor` print, and how they end."""
import pytest

from ms_moe_comm.cli import doctor, main


def test_plan(capsys):
    assert main("plan --experts 256 --hidden 7168 --top-k 8 --max-tokens 128 --dtype bf16 --ranks 8".split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("expert window of one rank: 8 ranks, 256 experts, hidden size 7168, top-k 8, up to 128 tokens "
                        "per rank, BFloat16, capacity 8192 rows")
    rows = {line.split()[0]: line.split() for line in lines if line.split()[:1] and line.split()[0].isdigit()}
    assert rows["8"][1:6] == ["256", "32", "8192", "224.1", "MiB"]
    assert rows["384"][1:6] == ["384", "1", "49152", "1.3", "GiB"]  # 128 redundant experts


def test_plan_shows_the_asked_rank_count(capsys):
    assert main(["plan", "--experts", "12", "--ranks", "6"]) == 0
    assert "\n    6       12          2 " in capsys.readouterr().out


def test_plan_refuses_with_the_windows_own_words(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--experts", "256", "--ranks", "6"])
    assert ended.value.code == 2
    assert "'moe_expert_num' must be a multiple of 6, but got 256" in capsys.readouterr().err


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "OK   python", "OK   numpy", "OK   mindspore", "OK   library", "OK   shared memory", "OK   CANN",
        "OK   two-rank round trip"]


def test_doctor_goes_on_after_a_failure(capsys, monkeypatch):
    def broken():
        raise ImportError("no such library")

    monkeypatch.setattr(doctor, "_library", broken)
    monkeypatch.setattr(doctor, "_round_trip", lambda: "skipped here")
    assert main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "FAIL library: ImportError: no such library" in output and "OK   two-rank round trip" in output


def test_doctor_reports_a_rank_that_fails(monkeypatch):
    monkeypatch.setenv("MS_MOE_COMM_WINDOW", "symm")  # no rank of the round trip gets a window
    with pytest.raises(RuntimeError, match="rank 0 ended with 1: .*MS_MOE_COMM_WINDOW is 'symm'"):
        doctor._round_trip()


def test_cann_home_that_is_no_folder(monkeypatch):
    monkeypatch.setenv("ASCEND_HOME_PATH", "/no/such/folder")
    with pytest.raises(RuntimeError, match="ASCEND_HOME_PATH is /no/such/folder, which is no folder"):
        doctor._cann()


def test_check_kernels_without_cann_says_so(capsys, monkeypatch):
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    assert main(["check-kernels"]) == 0
    assert capsys.readouterr().out.startswith("check-kernels did nothing: ASCEND_HOME_PATH is not set")


def test_check_kernels_without_headers_is_an_error(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    assert main(["check-kernels"]) == 1
    assert "check-kernels did nothing: no include/acl/acl.h under ASCEND_HOME_PATH" in capsys.readouterr().out


def test_unknown_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["treat"])
    assert ended.value.code == 2 and "invalid choice: 'treat'" in capsys.readouterr().err
