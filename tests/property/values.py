"""What the generators share: a dice with the seed, names that are hard, texts that are hard."""

import random

ODD = (
    'we"ird', "sp ace", "do.t", "ap'os", "back\\slash", "ünï cödé", "表", "a%b", "select", "case", "end", "begin", "order",
    "table", "UPPER", "Mixed Case", "tab\there", "dollar$1", "sl/ash", ".hidden", "-rf", "a--b", "/*c*/", "semi;colon", "1st",
    "`tick`", "e\u0301", "😀", "user", "(paren)", "[x]", "$$", "$tag$", "null", "%s", "line\nbreak", "trail ", " lead", "x:y", "#", "?", "*",
)

TEXTS = (
    "", " ", "NULL", "\\N", "\\.", "a'b", 'a"b', "back\\slash", "\\\\", "tab\tx", "nl\nx", "cr\rx", "crlf\r\nx", "trailing ", "  lead",
    "ünïcödé", "e\u0301", "\u202eabc", "😀", "\U0010ffff", "\u0001\u001f\u007f", "%s%n", "$$", "$1", ";", "--", "/* */", "{}", "[1,2]", "0", "-0",
    "x" * 300, "line1\nline2\\", "'", "''", "\\'", "\u00a0", "\ufeffbom", "null", "<a>&amp;</a>", "a,b", "(1,2)", "\u2028", "ß", "ﬁ", "İ",
)

JSONS = (
    "{}", "[]", '{"a": 1}', '{"a": 1.10, "b": [1, 2.0, 1e3]}', '{"n": null, "t": true}', '"text"', "1", "null", '{"a": {"b": {"c": []}}}',
    '{"big": 9223372036854775807, "u": 18446744073709551615}', '{"k\\"q": "v\\\\\\n\\u00e9"}', '{"é": "😀"}', "-0.0", "1.50", "123456789012345678",
    '[null, true, false, "", 0]', '{"": ""}', "[[[[[[1]]]]]]", '{"x": 0.1, "y": 1e-7, "z": 1E+20}',
)


class Dice(random.Random):
    """random.Random with the words that generators use; the same seed gives the same throws."""

    def one(self, things):
        return things[self.randrange(len(things))]

    def maybe(self, chance):
        return self.random() < chance

    def some(self, things, most):
        things = list(things)
        return self.sample(things, min(len(things), self.randint(0, most)))

    def number(self, most):
        return self.randint(0, most)


class Names:
    """Names that were not given before; odd ones with a chance. limit: in `unit`s of the engine."""

    def __init__(self, dice, odd, limit=63, unit="bytes", without=""):
        self.dice, self.odd, self.limit, self.unit, self.without = dice, odd, limit, unit, without
        self.n = 0
        self.given = []

    def new(self, stem):
        self.n += 1
        name = f"{stem}{self.n}"
        if self.dice.maybe(self.odd):
            odd = "".join(c for c in self.dice.one(ODD) if c not in self.without)
            shape = self.dice.number(4)
            if shape == 0:
                name = odd if odd not in self.given and odd.strip() == odd and odd else f"{odd}{self.n}"
            elif shape == 1:
                name = self._long(f"{stem}{self.n}", odd)
            else:
                name = f"{odd}{self.n}"
        self.given.append(name)
        return name

    def _size(self, text):
        return len(text.encode()) if self.unit == "bytes" else len(text)

    def _long(self, head, odd):
        name = head + odd.strip()
        while self._size(name + "x") <= self.limit:
            name += "x"
        while self._size(name) > self.limit:
            name = name[:-1]
        return name.rstrip() or head
