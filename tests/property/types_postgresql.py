"""PostgreSQL: types with values that are hard. Literals are E'...', so that no setting changes what they mean."""

from values import JSONS, TEXTS


def literal(text):
    """As a constant of any session."""
    out = text.replace("\\", "\\\\").replace("'", "''")
    return "E'" + out + "'"


def quote(name):
    return '"' + name.replace('"', '""') + '"'


INTEGERS = ("0", "1", "-1", "7", "42", "100", "32767", "-32768")
FLOATS = ("0", "-0", "1", "1.5", "0.1", "16777217", "1.17549435e-38", "3.4028235e38", "NaN", "Infinity", "-Infinity", "1e-45", "0.30000001")
NUMERICS = ("0", "1.10", "1.100", "-0.00", "NaN", "Infinity", "-Infinity", "1e100", "0.000000000000000000000000000001", "123456789012345678901234567890.12345")
STAMPS = (
    "2024-02-29 23:59:59.999999", "1970-01-01 00:00:00", "infinity", "-infinity", "0044-03-15 12:00:00 BC", "294276-12-31 23:59:59.999999",
    "2025-10-26 00:30:00", "2025-10-26 01:30:00", "1883-11-18 12:03:58", "0001-01-01 00:00:00", "10000-01-01 00:00:00",
)

# name: (SQL type, values as text without quotes, fit for a key)
TYPES = {
    "int": ("integer", INTEGERS + ("2147483647", "-2147483648"), True),
    "int2": ("smallint", INTEGERS, True),
    "int8": ("bigint", INTEGERS + ("9223372036854775807", "-9223372036854775808"), True),
    "numeric": ("numeric", NUMERICS, True),
    "numeric52": ("numeric(5,2)", ("0", "1.1", "-999.99", "NaN", "0.005"), True),
    "numeric20": ("numeric(20,-3)", ("0", "1500", "1000000", "NaN"), False),
    "float4": ("real", FLOATS, False),
    "float8": ("double precision", FLOATS[:-2] + ("0.30000000000000004", "1.7976931348623157e308", "5e-324", "0.1"), True),
    "bool": ("boolean", ("t", "f"), False),
    "text": ("text", TEXTS, True),
    "textc": ('text COLLATE "C"', TEXTS, True),
    "varchar": ("varchar(400)", TEXTS, True),
    "varchar0": ("character varying", TEXTS, True),
    "char": ("char(5)", ("", "a", "ab   ", " a", "ünïcö", "\\", "'"), True),
    "char1": ('"char"', ("a", "", "\\", "'", "\\001", "\\377"), True),
    "name": ("name", ("n", "Select", "a b", "é"), True),
    "bytea": ("bytea", ("\\x", "\\x00", "\\x" + "".join(f"{i:02x}" for i in range(256)), "\\x5c2e", "\\xff0a"), True),
    "date": ("date", ("2024-02-29", "infinity", "-infinity", "0044-03-15 BC", "5874897-12-31", "2000-01-01"), True),
    "timestamp": ("timestamp", STAMPS, True),
    "timestamp3": ("timestamp(3) without time zone", STAMPS[:3], True),
    "timestamptz": ("timestamptz", STAMPS, True),
    "time": ("time", ("00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.7"), True),
    "timetz": ("timetz", ("00:00:00+00", "23:59:59.999999-15:59", "12:00:00+05:30"), True),
    "interval": ("interval", ("0", "1 year 2 mons -3 days 04:05:06.7", "-1 day 23:00", "24 hours", "1 day", "178000000 years", "-00:00:00.000001", "P1Y2M3DT4H"), True),
    "intervalym": ("interval year to month", ("1 year", "-3 mons", "0"), False),
    "uuid": ("uuid", ("00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"), True),
    "json": ("json", JSONS + ('{"a":1,"a":2}', ' { "sp" : 1 } ', '{"z": "\\u0000"}', "1e400", "1.0"), False),
    "jsonb": ("jsonb", JSONS, True),
    "jsonpath": ("jsonpath", ("$.a[*] ? (@ > 1)", "strict $", "lax $.\"x y\""), False),
    "xml": ("xml", ("<a>1</a>", "<a b=\"c\"/>", "text", ""), False),
    "inet": ("inet", ("127.0.0.1", "10.0.0.0/8", "::1", "fe80::1/64", "255.255.255.255/32"), True),
    "cidr": ("cidr", ("10.0.0.0/8", "::/0", "2001:db8::/32"), True),
    "macaddr": ("macaddr", ("08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"), True),
    "macaddr8": ("macaddr8", ("08:00:2b:01:02:03:04:05",), False),
    "bit": ("bit(8)", ("00000000", "10101010", "11111111"), True),
    "varbit": ("bit varying(70)", ("", "0", "1", "01" * 33), True),
    "point": ("point", ("(0,0)", "(1.5,-2e10)", "(NaN,Infinity)"), False),
    "line": ("line", ("{1,2,3}", "{0.1,-1,0}"), False),
    "lseg": ("lseg", ("[(0,0),(1,1)]",), False),
    "box": ("box", ("(1,1),(0,0)",), False),
    "path": ("path", ("((0,0),(1,1))", "[(0,0),(1,1),(2,0)]"), False),
    "polygon": ("polygon", ("((0,0),(1,1),(1,0))",), False),
    "circle": ("circle", ("<(0,0),1.5>",), False),
    "int4range": ("int4range", ("empty", "[1,5)", "(,3]", "(,)", "[7,7]"), True),
    "numrange": ("numrange", ("empty", "[1.10,2.5]", "(1,)", "(,)"), True),
    "tsrange": ("tsrange", ("empty", "[2024-01-01,2024-02-01)", "[-infinity,infinity]"), False),
    "tstzrange": ("tstzrange", ("empty", '["2024-01-01 00:00:00+00","2024-02-01 00:00:00+00")'), False),
    "daterange": ("daterange", ("empty", "[2024-01-01,2024-02-01)", "[,2024-01-01]"), False),
    "multirange": ("int4multirange", ("{}", "{[1,3),[7,9)}"), False),
    "tsvector": ("tsvector", ("", "'a' 'b':1A,2", "'it''s':3B"), False),
    "tsquery": ("tsquery", ("'a' & !'b'", "'x' <-> 'y':*A"), False),
    "money": ("money", ("0", "1.50", "-92233720368547758.08"), False),
    "pg_lsn": ("pg_lsn", ("0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"), False),
    "oid": ("oid", ("0", "1", "4294967295"), True),
    "xid8": ("xid8", ("0", "18446744073709551615"), False),
    "tid": ("tid", ("(0,1)", "(4294967295,65535)"), False),
    "regtype": ("regtype", ("integer", "text[]", "pg_catalog.bool"), False),
    "regclass": ("regclass", ("pg_class", "pg_catalog.pg_type"), False),
    "textarr": ("text[]", ("{}", '{NULL,"NULL",""}', '{"a b","c,d","e\\"f","g\\\\h"}', "[0:1]={1,2}", "{{a,b},{c,d}}"), True),
    "intarr": ("integer[]", ("{}", "{1,NULL,3}", "[-1:1]={7,8,9}", "{{1,2},{3,4}}"), True),
    "jsonbarr": ("jsonb[]", ('{"{\\"a\\": 1}",NULL}',), False),
    "datearr": ("date[]", ("{2024-01-01,infinity}",), False),
    "byteaarr": ("bytea[]", ('{"\\\\x00ff",NULL}',), False),
    "int2vector": ("int2vector", ("1 2 3", ""), False),
    "oidvector": ("oidvector", ("1 2", ""), False),
}
