"""Writes SQLite files as rpm and its enemies would, and what SQLite itself reads in them.

Usage: rpm_databases.py FOLDER SEED. Each case is a folder there: `db`, maybe `wal` and `journal`, and `rows`: one line `NAME VERSION ARCH` for
each row of Packages in order, or `refuse` alone if the file is to be refused. `changed-N` are cases with some bytes changed: their `rows` may
also be `unreadable`, if SQLite cannot read them to the end.
"""

import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys

RPM = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)"
folder, random_source = sys.argv[1], random.Random(int(sys.argv[2]))


def header(name, version="1.0", release="1", arch="noarch", size=0):
    """A header of at least `size` bytes."""
    entries, data = [], b""
    for tag, value in ((1000, name), (1001, version), (1002, release), (1022, arch)):
        entries.append((tag, 6, len(data), 1))
        data += value.encode() + b"\0"
    least = 8 + 16 * len(entries) + len(data)
    if size > least + 16:
        entries.append((5000, 7, len(data), size - least - 16))
        data += bytes(random_source.choices(range(256), k=size - least - 16))
    return struct.pack(">II", len(entries), len(data)) + b"".join(struct.pack(">IIiI", *e) for e in entries) + data


def parsed(blob):
    """Name, version and architecture, read without any care."""
    il, dl = struct.unpack_from(">II", blob)
    if len(blob) != 8 + 16 * il + dl:
        return None
    tags = {}
    for i in range(il):
        tag, kind, offset, count = struct.unpack_from(">IIiI", blob, 8 + 16 * i)
        if kind == 6:
            start = 8 + 16 * il + offset
            tags[tag] = blob[start : blob.index(b"\0", start)]
    return b"%s %s-%s %s" % (tags[1000], tags[1001], tags[1002], tags[1022])


def rows(path):
    db = sqlite3.connect(path)
    try:
        return b"\n".join(parsed(blob) for (blob,) in db.execute("SELECT blob FROM Packages ORDER BY rowid"))
    except Exception:
        return b"unreadable"
    finally:
        db.close()


def case(name, source, expected=None):
    """Keeps the files at `source` as they are now."""
    here = os.path.join(folder, name)
    os.mkdir(here)
    for suffix, kept in (("", "db"), ("-wal", "wal"), ("-journal", "journal")):
        if os.path.exists(source + suffix):
            shutil.copyfile(source + suffix, os.path.join(here, kept))
    # SQLite reads a copy, for it writes to what it reads.
    copy = os.path.join(folder, "copy")
    for suffix, kept in (("", "db"), ("-wal", "wal"), ("-journal", "journal")):
        if os.path.exists(os.path.join(here, kept)):
            shutil.copyfile(os.path.join(here, kept), copy + suffix)
    found = rows(copy) if expected is None else expected
    for suffix in ("", "-wal", "-journal", "-shm"):
        if os.path.exists(copy + suffix):
            os.remove(copy + suffix)
    with open(os.path.join(here, "rows"), "wb") as file:
        file.write(found)


count = 0


def new(page_size=4096, schema=RPM, before=""):
    global count
    count += 1
    path = os.path.join(folder, "work-%d" % count)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA page_size=%d" % page_size)
    db.executescript(before)
    if schema:
        db.execute(schema)
    return path, db


def put(db, blob, rowid=None):
    db.execute("INSERT INTO Packages VALUES (?, ?)", (rowid, blob))


def simple(schema=RPM, before="", after="", n=3):
    path, db = new(schema=schema, before=before)
    for i in range(n):
        put(db, header("p%d" % i))
    db.executescript(after)
    return path, db


for size in (512, 1024, 4096, 65536):
    path, db = new(size)
    edge, least, step = size - 35, (size - 12) * 32 // 255 - 23, size - 4
    db.execute("BEGIN")
    lengths = {around + d for around in (edge, least + step, least + 2 * step, edge + step) for d in range(-12, 13)}
    for n, length in enumerate(sorted(l for l in lengths if l > 0)):
        put(db, header("edge%d" % n, size=length))
    db.execute("COMMIT")
    case("edges-%d" % size, path)
    db.execute("BEGIN")
    for n in range(3000 if size < 65536 else 300):
        put(db, header("many%d" % n, size=random_source.choice((0, 0, 0, 200, 700, 3000))))
    db.execute("COMMIT")
    case("many-%d" % size, path)
    db.execute("DELETE FROM Packages WHERE hnum % 3 = 0")
    db.execute("DELETE FROM Packages WHERE hnum BETWEEN 100 AND 400")
    case("deleted-%d" % size, path)
    db.execute("DELETE FROM Packages")
    case("emptied-%d" % size, path)
    db.close()

path, db = new(before="PRAGMA auto_vacuum=1;")
for n in range(200):
    put(db, header("vacuum%d" % n, size=3000))
db.execute("DELETE FROM Packages WHERE hnum % 2 = 0")
case("auto-vacuum", path)

# Bytes at the end of each page that SQLite does not use; only its own shell can ask for them.
if shutil.which("sqlite3"):
    for reserved in (1, 32):
        path, db = new(512)
        for n in range(100):
            put(db, header("reserved%d" % n, size=n * 12))
        db.close()
        subprocess.run(["sqlite3", path, ".filectrl reserve_bytes %d" % reserved, "VACUUM"], check=True, stdout=subprocess.DEVNULL)
        assert open(path, "rb").read(21)[20] == reserved
        case("reserved-%d" % reserved, path)

path, db = new()
for rowid in (-(2**63), -1, 0, 5, 127, 128, 16384, 2**31, 2**56, 2**63 - 1):
    put(db, header("row%d" % (rowid % 1000)), rowid)
case("keys", path)

path, db = new(schema="CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB)")
put(db, header("plain"))
case("no-autoincrement", path)
path, db = new()
case("empty", path)
# A schema of several pages.
path, db = new(512, schema=None)
for n in range(30):
    db.execute("CREATE TABLE 'T%d' (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, x CHECK (x <> '%s'))" % (n, "y" * n * 20))
    db.execute("CREATE UNIQUE INDEX T%d_i ON T%d(key ASC)" % (n, n))
    if n == 17:
        db.execute(RPM)
        put(db, header("in-the-middle"))
case("long-schema", path)
case("schema-with-all", simple(after="CREATE VIEW v AS SELECT 1; CREATE TABLE u(a UNIQUE); CREATE TRIGGER t AFTER INSERT ON u BEGIN DELETE FROM u; END;")[0])

for size in (512, 4096, 65536):
    path, db = new(size, before="PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0;")
    case("wal-first-%d" % size, path)
    for n in range(40):
        put(db, header("wal%d" % n, size=n * 50))
    case("wal-%d" % size, path)
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    case("wal-checkpointed-%d" % size, path)
    put(db, header("after"))
    case("wal-over-an-old-one-%d" % size, path)
    db.execute("DELETE FROM Packages WHERE hnum % 2 = 0")
    db.execute("PRAGMA cache_size=2")
    db.execute("BEGIN")
    for n in range(200):
        put(db, header("uncommitted%d" % n, size=3000))
    case("wal-uncommitted-%d" % size, path)
    db.execute("ROLLBACK")
    case("wal-rolled-back-%d" % size, path)
    put(db, header("later"))
    case("wal-later-%d" % size, path)
    db.execute("DELETE FROM Packages")
    db.execute("VACUUM")
    case("wal-vacuumed-%d" % size, path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    case("wal-truncated-%d" % size, path)

for mode in ("persist", "truncate"):
    path, db = simple(before="PRAGMA journal_mode=%s;" % mode)
    case("journal-" + mode, path)
path, db = simple()
db.execute("PRAGMA cache_size=2")
db.execute("BEGIN")
for n in range(200):
    put(db, header("hot%d" % n, size=3000))
case("journal-hot", path, b"refuse")

for name, schema, before, after in (
    ("no-table", None, "", ""),
    ("view", None, "", "CREATE TABLE x(hnum INTEGER PRIMARY KEY, blob BLOB); CREATE VIEW Packages AS SELECT * FROM x"),
    ("index", None, "", "CREATE TABLE x(hnum INTEGER PRIMARY KEY, blob BLOB); CREATE INDEX Packages ON x(blob)"),
    ("trigger", RPM, "", "CREATE TRIGGER packages AFTER INSERT ON Packages BEGIN SELECT 1; END"),
    ("virtual", None, "", "CREATE VIRTUAL TABLE Packages USING fts4(hnum, blob)"),
    ("without-rowid", "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB) WITHOUT ROWID", "", ""),
    ("third-column", RPM, "", "ALTER TABLE Packages ADD COLUMN more"),
    ("other-order", "CREATE TABLE Packages(blob BLOB, hnum INTEGER PRIMARY KEY)", "", ""),
    ("no-key", "CREATE TABLE Packages(hnum INTEGER, blob BLOB)", "", ""),
    ("utf16", RPM, "PRAGMA encoding='UTF-16le';", ""),
    ("text", RPM, "", "UPDATE Packages SET blob = 'x'"),
    ("another-name", RPM, "", "PRAGMA writable_schema=1; UPDATE sqlite_master SET name='Other' WHERE name='Packages'"),
    ("another-text", RPM, "", "CREATE TABLE x(a); PRAGMA writable_schema=1; UPDATE sqlite_master SET sql='CREATE TABLE x(hnum INTEGER PRIMARY KEY, blob BLOB)' WHERE name='Packages'"),
    ("two-names", RPM, "", "CREATE TABLE x(a); PRAGMA writable_schema=1; UPDATE sqlite_master SET name='PACKAGES', tbl_name='PACKAGES', sql='CREATE TABLE PACKAGES(hnum INTEGER PRIMARY KEY, blob BLOB)' WHERE name='x'"),
    ("one-root", RPM, "", "PRAGMA writable_schema=1; UPDATE sqlite_master SET rootpage=1 WHERE name='Packages'"),
    ("no-root", RPM, "", "PRAGMA writable_schema=1; UPDATE sqlite_master SET rootpage=0 WHERE name='Packages'"),
):
    path, db = simple(schema, before, after, n=3 if schema == RPM else 0)
    case("refused-" + name, path, b"refuse")

n = 0
for name in ("many-512", "edges-512", "keys", "wal-512", "wal-over-an-old-one-512", "wal-uncommitted-512", "long-schema", "schema-with-all"):
    for _ in range(40):
        path = os.path.join(folder, "mutant")
        for kept, suffix in (("db", ""), ("wal", "-wal")):
            if os.path.exists(path + suffix):
                os.remove(path + suffix)
            source = os.path.join(folder, name, kept)
            if not os.path.exists(source):
                continue
            data = bytearray(open(source, "rb").read())
            for _ in range(random_source.choice((0, 1, 1, 2, 8)) if data else 0):
                # The start of pages is where most is decided.
                at = random_source.randrange(len(data))
                at = random_source.choice((at, at // 512 * 512 + at % 16, at % 100))
                data[min(at, len(data) - 1)] = random_source.choice((0, 1, 5, 13, 255, random_source.randrange(256)))
            if random_source.random() < 0.1:
                data = data[: random_source.randrange(len(data) + 1)]
            open(path + suffix, "wb").write(data)
        case("changed-%d" % n, path)
        n += 1
