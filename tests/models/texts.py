"""Texts as hypothesis makes them up, from what text on the web is made of."""

from hypothesis import strategies as st

PIECES = [
    *("the film", "Don’t", "DON'T", "rock'n'roll", "'quoted'", "snake_case", "3.14", "e-mail", "…", "?!", "--"),
    *("<br>", "<BR>", "<br/>", "<br />", "<bR\t/>", "<br\n>", "<br", "br>", "<br/", "<b>", "<br class='x'>", "<br//>"),
    *("👩‍👩‍👧", "👍🏽", "🇫🇷", "🇫", "1️⃣", "❤️", "🏴\U000e0067\U000e007f", "\u200d", "\ufe0f", "🏽"),
    *("e\u0301", "\u0301", "!\u0301", "ä̈̈", "İ", "İSTANBUL", "ı", "ΟΔΟΣ", "A.Σ", "Σ", "ß", "ẞ", "ﬁ", "Ǆ"),
    *("שָׁלוֹם", "مرحبا", "\u200f", "\u0600", "\u0600 ", "नमस्ते", "สวัสดี", "한국어", "\u1112\u1161\u11ab", "日本語"),
    *(" ", "  ", "\t", "\r\n", "\n", "\r", "\u00a0", "\u2028", "\u3000", "\u200b", "\ufeff", "\x00", "\x1c", "\x85"),
    *("\ud800", "\udfff", "\ud83d\ude00", "\U0010ffff", "\U0001d400"),
    *("&amp;", "&#39;", "&quot;", "&nbsp;", "&lt;br&gt;", "&eacute;", "&#x301;", "&bne;", "&foo;", "AT&T", "&", "&#"),
    *("ʼ", "＇", "`", "´", "\u00ad", "\u200c", "½", "²", "™", "ŉ", "!\u0344", "ｆｉｌｍ！", "ｶﾞ", "か\u3099"),
    *("\u0e4d\u0e32", "တော်", "ខ្មែ", "ㄱㅏ", "𝐟𝐢𝐥𝐦", "😀", "2️⃣", "#️⃣", "\u20e3", "❤️\u200d🔥", "ﷺ"),
    *("≠", "=\u0338", "\U0002f800", "\U00020000", "¨", ";", "น้ำ"),
]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec=None), max_size=20),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)
