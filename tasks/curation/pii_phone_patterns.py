"""How telephone numbers are written: one `Pattern` a form; see `pii_phones` for what confirms each."""

from __future__ import annotations

import regex

from tasks.curation.pii_base import Pattern, any_case
from tasks.curation.pii_phone_context import CAPTIONS, CAPTIONS_UNSPACED
from tasks.curation.pii_phones import (
    confirm_behind,
    confirm_form,
    confirm_in_context,
    confirm_international,
    confirm_labelled,
    confirm_nanp,
    confirm_national,
    confirm_us,
    confirm_weak,
)

# "<PHONE>" is our own placeholder, not a caption.
_PHONE_CAPTION = (
    rf"(?<!<)(?:(?<!\p{{L}})(?i:{'|'.join(sorted(CAPTIONS, key=len, reverse=True))})(?!\p{{L}})"
    rf"|{'|'.join(CAPTIONS_UNSPACED)})"
)
_CAPTION_HINT = "|".join(any_case(word) for word in [*CAPTIONS, *CAPTIONS_UNSPACED])
#: Not enough for a number that is not right behind them: "contact us at 07911 123456".
_WEAK_CAPTIONS = (
    "reach", "ring", "contact", "text", "texts to", "messages? to", "registered(?: number)?", "my number", "rufen sie",
    "anrufen", "appelez", "llame", "llamar", "chiama", "chiamare",
)  # fmt: skip
_WEAK_HINT = "(?i)" + "|".join(_WEAK_CAPTIONS)
_BEHIND = "office|fax|mobile|cell|home|work|desk|phone"  # 0494 41 18 24-Office
_GROUPS = r"\(?\d[\d()]*+(?:[ .\-/–]{1,2}\(?\d[\d()]*+){0,6}"
_EXTENSION = r"(?: ?(?:x|ext\.?|extension|#) ?\d{1,6})"

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "phone",
        r"(?:[+]|00)[ (]{0,2}[0-9][0-9 ()./\xe2\x80\x93-]{6}",
        regex.compile(
            r"(?<![\w+.\-/])(?P<code>(?:\((?=\+\d{1,3}\)))?(?:\+ ?|00 ?)\(?[1-9](?:[ .\-()/–]{0,2}\d){6,16})"
            rf"(?P<extension>{_EXTENSION})?(?!\w)(?![.,]\d)"
        ),
        confirm_international,
        reach=(20, 100),
    ),
    Pattern(
        "phone",
        r"[2-9][0-9]{2}[)]?[-. ]?[0-9]{3}[-. ][0-9]{4}",
        regex.compile(
            r"(?<![\w.+\-/$])(?P<nanp>(?:1[\-. ])?"
            r"(?:\([2-9]\d{2}\)[ \-]?\d{3}[\-. ]|[2-9]\d{2}(?P<sep>[\-.])\d{3}(?P=sep))"
            r"\d{4})(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w%])(?![.\-,]\d)"
        ),
        confirm_nanp,
        reach=(24, 40),
    ),
    Pattern(
        "phone",
        r"[0-9]{3}[)]?[-. ]?[0-9]{3}[-. ][0-9]{4}(?: ?(?:x|ext)|[^0-9])?|[(][0-9]{2,5}[)][ -]?[0-9]{2}"
        r"|0[1-9][.][0-9]{2}[.][0-9]{2}[.][0-9]{2}[.][0-9]{2}|0[1-9][0-9]{0,3}-[0-9]{6}",
        regex.compile(
            r"(?<![\w.+\-/$])(?:"
            r"(?:(?:1|001)[\-. ])?(?:\(\d{3}\) ?-?\d{3}[\-. ]|\d{3}(?P<sep>[\-.])\d{3}(?P=sep))\d{4}"
            rf"{_EXTENSION}"
            r"|001[\-.]\d{3}[\-.]\d{3}[\-.]\d{4}"
            r"|\(\d{3}\) ?-?\d{3}[\-. ]\d{4}"
            r"|0[1-9](?:\.\d\d){4}"
            r"|\(0\d{1,4}\)[ \-]?(?:\d{2,4}(?:[ \-]\d{2,4}){1,3}|\d{5,8})"
            r"|\([1-9]\d{1,2}\) \d{3,4}[ \-]\d{3,4}"
            r"|0[1-9]\d{0,3}-\d{6,8})"
            r"(?![\w%])(?![.\-,/]\d)"
        ),
        confirm_form,
        reach=(28, 40),
    ),
    Pattern(
        "phone",
        rf"(?:{_CAPTION_HINT})[^0-9]{{0,60}}[0-9(][0-9 ()./\xe2\x80\x93-]{{6}}",
        regex.compile(
            rf"{_PHONE_CAPTION}(?P<filler>[^\d\n+]{{0,24}}?(?:\n[^\d\n+]{{0,8}}?)?)(?P<labelled>(?<![\w.]){_GROUPS})(?!\w)(?![.,]\d)"
        ),
        confirm_labelled,
        reach=(110, 100),
    ),
    Pattern(
        "phone",
        r"0[1-9][0-9]{0,3}[)]?[ .-][0-9]{2,4}",
        regex.compile(
            r"(?<![\w.+\-/$])(?<!\d[ ])(?P<national>(?:0[1-9]\d{0,3}|\(0[1-9]\d{0,3}\))(?P<sep>[ .\-])"
            r"(?:\d{2,4}(?:(?P=sep)\d{2,4}){1,4}|\d{6,8}))"
            r"(?!\w)(?! \d)(?![.,\-/]\w)"
        ),
        confirm_national,
        reach=(16, 30),
    ),
    Pattern(
        "phone",
        r"[2-9][0-9]{2} [2-9][0-9]{2} [0-9]{4}",
        regex.compile(r"(?<![\w.+\-/$,])(?<!\d[ ])(?P<us>[2-9]\d{2} [2-9]\d{2} \d{4})(?![\w%])(?! \d)(?![.,\-/]\w)"),
        confirm_us,
        reach=(14, 6),
    ),
    Pattern(
        "phone",
        rf"(?:{_WEAK_HINT})[^0-9]{{0,30}}[0-9(][0-9 ()./\xe2\x80\x93-]{{6}}",
        regex.compile(
            rf"(?<!\p{{L}})(?i:{'|'.join(_WEAK_CAPTIONS)})(?P<filler>[^\d\n+]{{0,16}}?)(?P<weak>(?<![\w.]){_GROUPS})(?!\w)(?![.,]\d)"
        ),
        confirm_weak,
        reach=(70, 60),
    ),
    Pattern(
        "phone",
        rf"(?i)[0-9][)]?[\s-][\s(-]?(?:{_BEHIND})",
        regex.compile(
            r"(?<![\w.+\-/$])(?P<behind>[(0]?\d[\d()]*(?:[ .\-/]\(?\d[\d()]*){0,5})(?P<sign>[ \t]?[\s\-(])"
            rf"(?P<what>(?i:{_BEHIND}))(?!\p{{L}})"
        ),
        confirm_behind,
        reach=(40, 4),
    ),
    Pattern(
        "phone",
        r"[0-9]{9}|[0-9]{2}[ .-][0-9]{2}[ .-][0-9]{2}|[0-9]{3}[ .-][0-9]{3,4}|[0-9]{2,5}[ /-][0-9]{5}"
        r"|[0-9]{2,4}[ -][0-9]{4}|[(][0-9]{2,5}[)][ -]?[0-9]{2}",
        regex.compile(
            r"(?<![\w.+\-$€£])(?<!\d[ .\-/–,:])(?P<run>(?:\d{9,13}"
            r"|(?:\(\d{2,5}\)[ \-]?|\d{1,6}[ .\-/])\d{2,8}(?:[ .\-]\d{2,4}){0,4})"
            rf"{_EXTENSION}?)(?![\w%])(?![ .\-,/:]\d)"
        ),
        confirm_in_context,
        reach=(24, 40),
    ),
)
