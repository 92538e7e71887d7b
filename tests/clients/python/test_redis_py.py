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


@check("a pipeline of vectors, and errors in its middle")
def _():
    r = client()
    pipe = r.pipeline(transaction=False)
    for i in range(2000):
        pipe.execute_command("VADD", "v", "FP32", fp32(1, i), f"e{i}")
    assert pipe.execute() == [1] * 2000
    for i in range(2000):
        pipe.execute_command("VSIM", "v", "ELE", f"e{i}", "COUNT", 1)
    assert all(len(found) == 1 for found in pipe.execute())
    pipe.execute_command("VCARD", "v")
    pipe.execute_command("VADD", "v", "FP32", fp32(1), "short")
    pipe.execute_command("VISMEMBER", "v", "short")
    card, error, member = pipe.execute(raise_on_error=False)
    assert card == 2000 and member == 0
    assert "Vector dimension mismatch" in str(error)


@check("a transaction of vector commands is one instant")
def _():
    r = client()
    with r.pipeline(transaction=True) as pipe:
        pipe.execute_command("VADD", "v", "FP32", fp32(1, 0), "x", "SETATTR", '{"n":1}')
        pipe.execute_command("VSIM", "v", "ELE", "x", "WITHSCORES")
        pipe.execute_command("VSETATTR", "v", "x", "")
        pipe.execute_command("VGETATTR", "v", "x")
        pipe.execute_command("VREM", "v", "x")
        pipe.exists("v")
        assert pipe.execute() == [1, [b"x", b"1"], 1, None, 1, 0]
        # One refused command and none of them runs.
        pipe.set("a", 1)
        pipe.execute_command("NOSUCH")
        raises("unknown command", pipe.execute)
    assert r.get("a") is None


@check("every vector command by name")
def _():
    r = client(decode_responses=True)
    do = r.execute_command
    assert do("VCREATE", "l2", "DIM", 2, "METRIC", "L2", "NOQUANT") == "OK"
    assert do("VMADD", "l2", 3, "FP32", fp32(0, 0, 3, 4, 6, 8), "o", "p", "q") == 3
    assert do("VCARD", "l2") == 3 and do("VDIM", "l2") == 2
    assert [float(x) for x in do("VEMB", "l2", "p")] == [3, 4]
    assert do("VSEARCH", "l2", "VALUES", 2, 3, 3, "K", 2, "WITHDISTANCES")[:2] == ["p", "1"]
    assert do("VMSEARCH", "l2", 2, "FP32", fp32(0, 1, 6, 7), "K", 1) == [["o"], ["q"]]
    assert do("VLINKS", "l2", "o") == [["p", "q"]]
    assert do("VISMEMBER", "l2", "o") == 1
    assert do("VSETATTR", "l2", "o", '{"n": 1}') == 1
    assert do("VGETATTR", "l2", "o") == '{"n": 1}'
    assert do("VRANGE", "l2", "-", "+", 2) == ["o", "p"]
    assert do("VRANDMEMBER", "l2") in "opq"
    assert do("VMREM", "l2", "o", "p", "nobody") == 2
    assert do("VREM", "l2", "q") == 1
    assert do("TYPE", "l2") == "vectorset"


@check("one connection pool under many threads")
def _():
    r = client(max_connections=32)
    wrong = []

    def work(t):
        for i in range(300):
            if r.incr(f"n{t}") != i + 1:
                wrong.append((t, i))
    threads = [threading.Thread(target=work, args=(t,)) for t in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]


@check("a killed connection is made anew")
def _():
    r, other = client(client_name="victim"), client()
    first = r.client_id()
    assert other.client_kill_filter(_id=first) == 1
    assert r.ping()
    assert r.client_id() != first


@check("what it parses: CLIENT LIST, SLOWLOG, MEMORY USAGE, TIME, OBJECT, TTL")
def _():
    r = client(client_name="lister")
    mine = [c for c in r.client_list() if c["id"] == str(r.client_id())]
    assert mine[0]["name"] == "lister" and mine[0]["db"] == "0"
    assert r.config_set("slowlog-log-slower-than", 0)
    r.set("k", "v", px=100000)
    entry = [e for e in r.slowlog_get() if e["command"].startswith(b"SET k v")]
    assert len(entry) == 1 and entry[0]["duration"] >= 0
    r.config_set("slowlog-log-slower-than", 10000)
    r.slowlog_reset()
    assert r.memory_usage("k") > 0 and r.memory_usage("none") is None
    assert r.time()[0] > 1600000000
    assert r.object("encoding", "k") == b"embstr"
    assert 0 < r.pttl("k") <= 100000
    assert r.command_count() == len(r.command())


@check("MONITOR shows commands")
def _():
    with client().monitor() as monitor:
        client().set("watched", "yes")
        for seen in monitor.listen():
            if seen["command"] == "SET watched yes":
                break


@check("publish and subscribe are refused and the connection goes on")
def _():
    r = client()
    raises("unknown command", lambda: r.publish("news", "x"))
    assert r.ping()


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
