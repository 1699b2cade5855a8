"""What the words around a number say: that it is a telephone's, and how surely.

A reader takes ``606 490 378`` for a telephone number behind "call me on", not behind "order". Three questions: is a
caption or a phrase right in front of it (`Said.DIRECT`); is a telephone spoken of in the same line, nothing else being
named between (`Said.NEAR`); does it stand alone in its line or field beside an address (`Said.BLOCK`).
"""

from __future__ import annotations

from enum import IntEnum

import regex

from tasks.curation.pii_base import NO_PLACEHOLDER


class Said(IntEnum):
    """How surely the surroundings speak of a telephone."""

    NOTHING = 0
    BLOCK = 1
    NEAR = 2
    DIRECT = 3


#: Captions in other languages and for the labelled pattern.
CAPTIONS = (
    "phone", "tel", "desk", "landline", "tél", "tele", "telephone", "téléphone", "telefon", "telephon", "telefone",
    "telefono", "teléfono", "tlf", "mobile", "mobil", "móvil", "movil", "portable", "cell", "cellphone", "cellular",
    "fax", "handy", "whatsapp", "hotline", "dial", "call", "sms", "тел", "телефон",
)  # fmt: skip
CAPTIONS_UNSPACED = ("电话", "電話", "手机", "전화")  # a letter may follow: 电话号码

_KIND = (
    r"(?:new|old|current|personal|work|home|office|business|direct|private|emergency|contact|best|main|other|second|"
    r"alternat(?:e|ive)|call-?back|daytime|evening|toll[- ]?free|local|mobile|cell|phone|telephone|fax|landline|only|"
    r"own|usual|correct|right|wrong|different|real|actual|whatsapp|company|\p{L}+['’]s)"
)
_NOUN = (
    r"(?:(?:tele|cell|smart|free|hand)?phone|tél(?:éphone)?|telefono?|telefone|teléfono|tel|tele|tlf|ph|mob|mobile|"
    r"cell|cellular|land[ -]?line|fax|facsimile|hotline|helpline|whatsapp|viber|sms|voice ?mail|switchboard|pager|"
    r"toll[- ]?free|contact|desk|caller id|dial-in)"
)
_OWNER = r"(?:my|your|his|her|their|our|whose|\p{L}+['’]s)"
_LINK = (  # between a caption and its number
    r"(?:['’]s(?!\p{L})|[\s:：=#>*–—,.'\"“‘(\[|-]|(?:numbers?|nr|no|num|is|are|was|will|be|has|changed|at|on|to|or|me|us|you|it's|now|"
    r"new|the|this|following|below|here|line|info|information|details|phone|work|home|office|direct|main|again|still|"
    r"currently|by|via|for|also|please|either|try|instead)(?![\p{L}\p{N}])){0,14}+$"
)
_SAID = rf"(?<!\p{{L}}){NO_PLACEHOLDER}"
_VERB = (
    r"(?:call(?:s|ed|ing)?|phon(?:e|ed|ing)|telephon(?:e|ed|ing)|r[iau]ng|ringing|dial(?:l?ed|l?ing)?|"
    r"reach(?:ed|ing)?|contact(?:ed|ing)?|text(?:ed|ing)?|messag(?:e|ed|ing)|fax(?:ed)?|whatsapp|get (?:a )?hold of|"
    r"get in touch(?: with)?|get (?:back|through) to|speak(?: to| with)?|talk to|"
    r"(?:give|gave) \p{L}+ a (?:quick )?(?:call|ring|shout|buzz|bell)|drop \p{L}+ a (?:text|line|message)|"
    r"leave (?:\p{L}+ )?(?:a )?(?:message|voice ?mail)(?: for \p{L}+)?)"
)
_SOON = r"(?:back|up|directly|now|today|tonight|tomorrow|later|anytime|any time|asap|please|either|again|only|first)"
_DIRECT = regex.compile(
    rf"{_SAID}(?i:{_NOUN}s?|{_OWNER} (?:{_KIND} ){{0,3}}(?:numbers?|digits|cell)|contact (?:me|us)|"
    r"the number on (?:file|record)|"
    rf"(?:missed )?calls? from|texts? from|(?:texts?|messages?|faxe?s?|sms) to|"
    rf"{_VERB} (?:me|us|him|her|them|you)(?: {_SOON}){{0,3}},?(?: at| on| via| under| using| through| by| with)|"
    r"(?:find|catch|get|try) (?:me|us|him|her|them) (?:at|on)|"
    r"(?:reached|reachable|available|contactable) (?:at|on|by|under)|(?:text|sms|message|fax) [^\d\n]{1,30} to|"
    r"send (?:\p{L}+ )?(?:an? )?(?:text|sms|message|whatsapp)(?: \p{L}+)? to|"
    rf"(?:phon(?:e|ing)|telephone|ring|dial(?:l?ed|ing)?|text|fax|whatsapp|sms))(?!\p{{L}}|[ \t]*\d){_LINK}"
)
_SINGLE = regex.compile(
    r"(?:^|[\n|;,·•/(])[ \t]*(?:[TMPFCOWH](?::|\.:)"
    r"|(?i:home|work|office|main|direct|voice|day|evening|night)[ \t]?[:.-]?)[ \t]*$"
)
_NEAR_NOUN = regex.compile(
    rf"{_SAID}(?i:(?:tele|cell)?phone|tel|mobile|cell|land ?line|fax|hotline|helpline|whatsapp|viber|voice ?mail|sms|"
    r"caller|contact(?=:)|emergency contact|call-?back|customer service|toll[- ]?free|contact number|"
    r"numbers? (?:for|of) [A-Z])(?!\p{L})"
)
#: "For reservations, 606 490 378"; "call the office: 606 490 378"; "can't reach 606 490 378".
_PURPOSE = regex.compile(
    rf"{_SAID}(?i:for (?:\p{{L}}+ )?(?:reservations?|bookings?|appointments?|enquir(?:y|ies)|inquir(?:y|ies)|"
    r"information|details|assistance|help|support|emergencies|questions)[,:]?|"
    rf"{_VERB}(?: \p{{L}}+){{0,3}}:|{_VERB}) ?$"
)
_TELE = regex.compile(
    rf"{_SAID}(?i:{_VERB}|{_NOUN}|caller|calls|answer(?:s|ed|ing)?|busy|disconnected|hung up|hang(?:s|ing)? up|"
    r"pick(?:s|ed)? up|sim card|spam|scam|roaming|prepaid|subscriber)(?!\p{L})"
)
_HINGE = regex.compile(
    r"(?i)(?<!\p{L})(?:numbers?|no\.?|nr\.?|from|at|on|under|via|try|is|it's|are|was)(?: (?:this|the|my|your|our)"
    r"(?: \p{L}+)?)?[\s:=\"'“(]*$"
)
#: Words that name another number; the nearest word decides.
_OTHER = regex.compile(
    r"(?i)(?<!\p{L})(?:(?<!caller )ids?|(?<!\bon (?:my|your|the|his|her|our) )accounts?|"
    r"orders?|acct|invoices?|tickets?|cases?|ref(?:erence)?|isbn|issn|serial|policy|"
    r"tracking|zip|post(?:al)?(?: ?code)?|credit|debit|card|visa|mastercard|amex|transactions?|member(?:ship)?|patient|"
    r"flight|booking|reservation|confirmation|version|build|port|pid|pin|otp|pass(?:code|word)|amount|price|total|sum|"
    r"usd|eur|population|date[sd]?|born|dob|timestamps?|epoch|suite|apt|apartment|unit|room|box|pages?|pp|vol(?:ume)?|"
    r"issue|chapter|rows?|items?|sku|model|part|bugs?|commit|size|bytes|hash|seed|values?|offset|iban|swift|bic|"
    r"routing|ssn|social|tax|vat|licen[cs]e|passport|index|key|token|length|count|sold|sales|users|customers|people|"
    r"million|revenue|approximately|nearly|average|\w+\(|0x|=)(?!\p{L})"
)
_BEHIND = regex.compile(
    r"(?i)[)\]\"'”]?(?:\s?\((?:cell|mobile|home|work|office|fax|phone|tel)\)"
    r"|[,.?!]?\s(?:is|was|are|isn't|'s)?\s?(?:still |not |now |actually )?"
    rf"(?:my|your|his|her|their|our|the best|the right|the correct)(?: {_KIND}){{0,3}} "
    r"(?:number|phone|cell|mobile|line|fax)(?!\p{L})"
    rf"|\s[^\d\n]{{0,30}}?(?<!\p{{L}})as (?:my|your|his|her|their|our|a|the)(?: {_KIND}){{0,3}} (?:number|phone)"
    r"(?!\p{L})"
    r"|\s(?:(?:has|have|had|just|keeps?|kept|is|was|been|who|that) ){0,3}(?:call(?:ed|ing)|rang|ringing|text(?:ed|ing)|"
    r"phon(?:ed|ing)|messaged) (?:me|us|you|him|her)"
    r"|,?\s(?:to|and|or)\s(?:call|reach|contact|text|phone|speak|talk|ask for|leave)\b"
    r"|,?\s(?:but|and)?\s?(?:no[ -]?one|nobody|they|he|she|it)?\s?(?:didn't|doesn't|never|did not|does not|keeps|goes)?"
    r"\s?(?:answer(?:s|ed)?|pick(?:s|ed)? up|(?:straight )?to voice ?mail)\b"
    r"|\sis (?:busy|disconnected|out of service|unreachable|engaged|not in service)\b)"
)
_BEHIND_NAMED = regex.compile(  # "add 606 490 378 as my phone number"; "who does 606 490 378 belong to? I got a text"
    r"(?i)[,.?!)\"']?\s(?:as|is|to|into|on|in|for|was|and|from|with|belongs?)\b(?P<between>[^\d\n]{0,44}?)(?<!\p{L})"
    rf"(?:{_NOUN}|call|text)(?!\p{{L}})"
)
#: A cheap look before the others: a text of numbers and nothing else costs little.
_STEMS = (
    "phon", "tel", "mob", "cell", "fax", "land", "line", "call", "dial", "ring", "rang", "rung", "reach", "contact",
    "text", "messag", "sms", "whatsapp", "viber", "voice", "number", "pager", "desk", "speak", "talk", "touch", "hold",
    "shout", "busy", "for ", "available", "find", "catch", "get", "home", "work", "office", "direct", "answer", "pick",
    "disconn", "service", "unreach", "engaged", "toll", "buzz", "bell", "switchb", ":", "él", "ph", "tlf",
)  # fmt: skip
_ADDRESS = regex.compile(
    r"[\p{L}\p{N}.+_-]@[\p{L}\p{N}-]+\.|(?<!\p{L})(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|"
    r"Suite|Apt|P\.?O\.? ?Box|Court|Square|Terrace|Parkway|Highway|Hwy|(?i:stra(?:ß|ss)e|rue|via|calle|avenida))"
    r"(?!\p{L})|(?<!\p{L})[A-Z]{2},? \d{5}(?!\d)"
)
_STREET_BEHIND = regex.compile(r" (?:[NSEW]\.? )?(?:\p{Lu}\p{L}+|rue|via|calle|rua|avenida|av|blvd|ul)(?!\p{L})")
_DIGITS = regex.compile(r"\d{3}")  # not 24/7
_ROOM_BEFORE = regex.compile(r"(?i)(?<!\p{L})(?:suite|apt|apartment|unit|room|box|floor|ste|no|#)\.? ?$")


def said(text: str, start: int, end: int) -> Said:
    """What stands around ``text[start:end]``; a house or room number is none whatever stands near."""
    left, right = text[max(0, start - 110) : start], text[end : end + 70]
    around = f"{left} {right}".lower()
    if any(stem in around for stem in _STEMS):
        line, behind = left.rpartition("\n")[2], right.partition("\n")[0]
        direct = _DIRECT.search(left)
        if _ROOM_BEFORE.search(line[-14:]) and not direct:
            return Said.NOTHING
        if direct or _SINGLE.search(left[-20:]):
            return Said.DIRECT
        if _BEHIND.match(behind) or _PURPOSE.search(line) or _near(line, behind):
            return Said.NEAR
        if (named := _BEHIND_NAMED.match(behind)) and not _OTHER.search(named["between"]):
            return Said.NEAR
    return Said.BLOCK if _own_field(left, right) and _ADDRESS.search(f"{left}\n{right}") else Said.NOTHING


def names_other(text: str) -> bool:
    """A word that names another number: order, account, version ..."""
    return bool(_OTHER.search(text))


def before_street(text: str, end: int) -> bool:
    """A street's name follows, as behind a house number: "Suite 910 771 4301 Ethels Lane"."""
    return bool(_STREET_BEHIND.match(text, end))


def _own_field(left: str, right: str) -> bool:
    before, behind = left.rstrip(" \t"), right.lstrip(" \t.")
    return (not before or before[-1] in "\n,;|\t" or before.endswith("\\n")) and (
        not behind or behind[0] in "\n,;|\t" or behind.startswith("\\n")
    )


def _near(line: str, behind: str) -> bool:
    """A telephone is named before it in this line and no other thing between, or a hinge (at, from) and a call."""
    other = max((match.end() for match in _OTHER.finditer(line)), default=-1)
    named = max((match.end() for match in _NEAR_NOUN.finditer(line)), default=-1)
    if named > other and not _DIGITS.search(line, named):
        return True
    if not _HINGE.search(line):
        return False
    calling = max((match.end() for match in _TELE.finditer(line)), default=-1)
    if calling > other and not _DIGITS.search(line, calling):
        return True
    return bool(other < 0 and "number" in line[-30:].lower() and _TELE.search(behind))
