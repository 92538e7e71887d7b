"""Debian's python3-redis: connecting, strings, pipelines, transactions, scanning,
and vector sets through execute_command (this release has no helpers for them)."""
import struct
import sys
import threading

import redis

PORT = int(sys.argv[1])
FAILED = []


def client(**options):
    return redis.Redis(host="127.0.0.1", port=PORT, **options)


def check(name):
    """Runs a test and prints its line."""
    def run(body):
        try:
            client().flushall()
            body()
            print(f"ok - {name}")
        except Exception as error:  # a test may fail in any way
            FAILED.append(name)
            print(f"not ok - {name}\n    {type(error).__name__}: {error}")
        return body
    return run


def fp32(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


def raises(pattern, body):
    try:
        body()
    except redis.ResponseError as error:
        assert pattern in str(error), f"'{error}' has no '{pattern}'"
        return
    raise AssertionError(f"no error '{pattern}'")


@check("connects, names itself, selects")
def _():
    r = client(db=2, client_name="py")
    assert r.ping()
    assert r.client_getname() == "py"
    r.set("a", 1)
    assert client(db=2).get("a") == b"1" and client().get("a") is None


@check("strings of any bytes")
def _():
    r = client()
    data = bytes(range(256))
    r.set(b"k\0\r\n", data, ex=100)
    assert r.get(b"k\0\r\n") == data
    assert 0 < r.ttl(b"k\0\r\n") <= 100
    assert r.getrange(b"k\0\r\n", 250, -1) == data[250:]
    assert r.incrbyfloat("f", 0.1) == 0.1


@check("a pipeline of ten thousand")
def _():
    r = client()
    pipe = r.pipeline(transaction=False)
    for i in range(10000):
        pipe.set(f"k{i}", i)
    assert all(pipe.execute())
    assert r.dbsize() == 10000
    assert sum(1 for _ in r.scan_iter(count=500)) == 10000
    assert len(r.keys("k99*")) == 111


@check("a transaction that is watched")
def _():
    r, other = client(), client()
    r.set("n", 1)
    with r.pipeline() as pipe:
        pipe.watch("n")
        other.set("n", 2)
        pipe.multi()
        pipe.set("n", 3)
        try:
            pipe.execute()
            raise AssertionError("no WatchError")
        except redis.WatchError:
            pass
    assert r.get("n") == b"2"


@check("vector sets with blobs and values")
def _():
    r = client()
    assert r.execute_command("VADD", "v", "FP32", fp32(1, 0, 0), "x") == 1
    assert r.execute_command("VADD", "v", "VALUES", 3, 0.1, 0.9, 0, "y", "SETATTR", '{"n":1}') == 1
    assert r.execute_command("VADD", "v", "FP32", fp32(1, 0, 0), "x") == 0
    assert r.execute_command("VSIM", "v", "FP32", fp32(0, 1, 0), "COUNT", 1) == [b"y"]
    flat = r.execute_command("VSIM", "v", "ELE", "x", "WITHSCORES", "WITHATTRIBS")
    assert flat[0] == b"x" and flat[2] is None and flat[5] == b'{"n":1}'
    assert abs(float(flat[1]) - 1) < 1e-6
    info = r.execute_command("VINFO", "v")
    pairs = dict(zip(info[::2], info[1::2]))
    assert pairs[b"vector-dim"] == 3 and pairs[b"size"] == 2
    raw = r.execute_command("VEMB", "v", "x", "RAW")
    assert raw[0] == b"int8" and raw[1] == b"\x7f\0\0" and len(raw) == 4


@check("errors are told by their text")
def _():
    r = client()
    r.set("s", "x")
    raises("WRONGTYPE", lambda: r.execute_command("VCARD", "s"))
    raises("WRONGTYPE", lambda: r.execute_command("VADD", "s", "FP32", fp32(1), "x"))
    raises("invalid vector specification",
           lambda: r.execute_command("VADD", "v", "FP32", fp32(float("nan")), "x"))
    raises("unknown command", lambda: r.execute_command("NOSUCH"))
    raises("wrong number of arguments", lambda: r.execute_command("VADD", "v"))


@check("many threads, each with a connection, see their own writes")
def _():
    def work(t):
        r = client()
        for i in range(200):
            r.execute_command("VADD", "shared", "FP32", fp32(t + 1, i + 1), f"{t}:{i}")
            found = r.execute_command("VSIM", "shared", "ELE", f"{t}:{i}", "COUNT", 1000000)
            if f"{t}:{i}".encode() not in found:
                wrong.append((t, i))
        r.close()
    wrong = []
    threads = [threading.Thread(target=work, args=(t,)) for t in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]
    assert client().execute_command("VCARD", "shared") == 1200


@check("INFO and CONFIG are parsed")
def _():
    r = client()
    info = r.info()
    assert info["redis_version"] == "8.0.6" and info["loading"] == 0
    assert "vectra_version" in info
    assert r.config_get("maxmemory") == {"maxmemory": "0"}
    r.config_set("maxmemory", "100mb")
    assert r.config_get("maxmemory")["maxmemory"] == str(100 << 20)
    r.config_set("maxmemory", 0)


sys.exit(1 if FAILED else 0)
