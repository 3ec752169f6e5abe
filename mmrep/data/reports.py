"""Radiology reports: their sections, and sentences that speak of an earlier examination."""

import re

SECTIONS = ("findings", "impression", "indication", "comparison", "technique", "examination", "recommendation", "other")
# what a heading must hold to be that section, the first that fits; as MIMIC-CXR's reports write and miswrite them
_NAMES = (("impression", r"IMP\w*SS?\w*NS?|CONCLUSIONS?|OPINION|SUMMARY"), ("findings", r"FIND\w*|FINIDNGS|OBSERVATIONS?"),
          ("indication", r"\w*DICATIONS?|HISTORY|REASON|CLINICAL|SYMPTOM|QUESTION"), ("comparison", r"COMPAR(?!E)\w*|PRIORS?|REFERENCE"),
          ("technique", r"TECHNIQUES?|PROCEDURE|PROTOCOL|CONTRAST"), ("recommendation", r"RECOMMENDATIONS?|NOTIFICATION|COMMUNICATION"),
          ("other", r"WET ?READ|SIGNED|DICTATED|TRANSCRIBED|CC|PROVIDERS?|PHYSICIANS?|RADIOLOGISTS?|RESIDENT"
           r"|ADDENDUM|PRELIMINARY|FINAL REPORT|ATTENDING|SIGNATURE"), ("examination", r"EXAM(?:INATION)?S?|STUDY|TYPE"),
          ("other", r"^(?:(?:ELECTRONICALLY )?(?:READ|REPORTED|REVIEWED|APPROVED|VERIFIED|INTERPRETED|PERFORMED|REQUESTED|ORDERED)(?: BY)?"
           r"|(?:DATE|TIME)(?: OF (?:SERVICE|BIRTH|REPORT|DICTATION))?|REPORT (?:STATUS|DATE)|DISCLAIMER|ATTESTATION"
           r"|(?:PATIENT )?(?:NAME|ID|MRN|NUMBER)|PATIENT|DOB|ACCESSION(?: \w+)?|(?:REFERRING|ORDERING|READING)(?: \w+)?|DR|MD"
           r"|(?:ICD|CPT)\S*(?: \w+)?|(?:BILLING )?CODES?|BILLING|FACILITY|HOSPITAL|DEPARTMENT|PHONE|PAGER|FAX)$"),
          ("findings", r"VIEWS?|CHEST|PORTABLE|RADIOGRAPHS?|FILMS?|UPRIGHT|LAT(?:ERAL)?|FRONTAL|SUPINE|RIBS"))
_KINDS = tuple((name, re.compile(rf"\b(?:{words})\b")) for name, words in _NAMES)
_SIDED = re.compile(r"\b(?:LEFT|RIGHT|LT|RT|L|R|BILATERAL)\b", re.IGNORECASE)
_CAPITALS = r"[A-Z][A-Z0-9 ,/&()'._-]{1,70}?"
_USUAL = (r"findings(?: and impression)?|impressions?|conclusions?|indications?|(?:clinical )?history|clinical information|"
          r"reason for exam(?:ination)?|comparisons?|techniques?|exam(?:ination)?|procedure|recommendations?|notification|addendum|"
          r"wet read|final report")
_HEADING = re.compile(rf"^[ \t]*({_CAPITALS}|(?i:{_USUAL}))[ \t]*:(?=\s|$)", re.MULTILINE)
_FLAT = re.compile(r"(?<=[.!?:;_])[ \t]+(?=(?:FINDINGS|IMPRESSION|CONCLUSION|INDICATION|HISTORY|COMPARISON|TECHNIQUE|EXAMINATION|"
                   r"RECOMMENDATION|WET READ|NOTIFICATION|ADDENDUM)S?(?: AND IMPRESSION)?:\s)")  # of reports whose lines somebody joined
_BANNER = re.compile(r"^[ \t]*FINAL (?:REPORT|ADDENDUM)[ \t]*$", re.MULTILINE)
_STUDY = r"(?:stud(?:y|ies)|exams?|examinations?|radiographs?|films?|x-?rays?|images?|imaging|ct|scans?|mri)"
_PRIOR = re.compile(rf"""(?ix)(?:^\W*(?:\d\W+)?resolution\ of | \b(?:
    compar(?:ed|ison|ing|able) | unchanged | interval | stable | persistent | persist(?:s|ed) | remain(?:s|ed)? | no\ longer |
    new(?:ly)? | again | previously | re-?(?:demonstrat|identif)\w+ | (?:as|than)\ before |
    (?:has|have)\s+been\s+(?:\w+\s+)?(?:removed|placed|inserted|advanced|withdrawn|retracted|repositioned|replaced|extubated) |
    (?:since|than|to|from)\s+(?:the\s+|a\s+|her\s+|his\s+|most\s+)*(?:prior|previous|preceding|last|earlier|recent|yesterday)
    (?=\W*$|\W*[.,;_]|\s+(?:\w+\s+){{0,3}}{_STUDY}\b) |
    (?:since|than)\s+(?:the\s+|a\s+|her\s+|his\s+|most\s+)*(?:prior|previous|preceding|last|earlier|recent|yesterday|___) |
    (?:prior|previous|preceding|earlier)\s+(?:\w+\s+){{0,3}}{_STUDY} |
    (?:has|have)\s+(?:\w+\s+)?(?:increased|decreased|improved|worsened|resolved|progressed|cleared|developed|enlarged) |
    (?:in|de)creased?\s+in\s+(?:size|extent|volume|severity|conspicuity) | (?:in|de)creasing |
    (?:improv|worsen|resolv|progress)(?:ed|ing) | improvement\s+(?:in|of) | (?<!document\ )(?<!ensure\ )(?:complete|partial)\s+resolution |
    (?:no|little|without|significant|relevant)\s+(?:\w+\s+)?change)\b)""")


def sections(text: str) -> dict[str, str]:
    """The sections of a report, section (of SECTIONS) -> its text on one line; those that are not there, or empty, are left out.

    A heading ends in a colon and begins a line: any in capitals, the usual ones in lower case, too; in a text of one line these in capitals
    after a sentence. An unusual one below findings or impression ("LUNGS:", "LINES AND TUBES:") divides them, after a blank line, too: they
    go on, and keep its words, as is one that names a side ("RIGHT RIBS:"). "FINDINGS AND IMPRESSION" is the impression; what stands below
    the name of a view ("PA AND LATERAL CHEST:") is findings, as is, where there are neither findings nor an impression, what follows the
    first paragraph of the last section, and all of a text without a heading or a second paragraph. Of a section that comes twice the texts
    are joined; wet reads, addenda and what stands above the first heading are "other". Source: the rules of MIMIC-CXR's own parser (Johnson
    et al. 2019, https://github.com/MIT-LCP/mimic-cxr, txt/section_parser.py), written anew; its list of single reports cut by hand is not
    followed.
    """
    text = _BANNER.sub("", text)
    text = text if "\n" in text.strip() else _FLAT.sub("\n", text)
    marks = list(_HEADING.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)]
    parts = [("other", text[:ends[0]])] if marks else []
    for mark, end in zip(marks, ends[1:]):
        name = next((name for name, pattern in _KINDS if pattern.search(mark[1].upper())), "")
        inside = not name and parts[-1][0] in ("findings", "impression")
        kept = inside or name in ("findings", "impression") and _SIDED.search(mark[1])  # "LEFT CHEST:" says where
        parts.append((parts[-1][0] if inside else name or "other", text[mark.start() if kept else mark.end():end]))
    if not any(name in ("findings", "impression") and part.strip() for name, part in parts):
        name, rest = parts.pop() if parts else ("other", text)
        first, *later = [part for part in re.split(r"\n\s*\n", rest) if part.strip()] or [""]
        parts += [(name, first), ("findings", "\n".join(later))] if marks or later else [("findings", first)]
    words = {name: [word for found, part in parts if found == name for word in part.split()] for name in SECTIONS}
    return {name: " ".join(found) for name, found in words.items() if found}


def sentences(text: str) -> list[str]:
    """Its sentences: what ends in . ! or ? before a space, or in a line's end; the dot of an abbreviation other than Dr. ends one, too.

    What has no letter is no sentence: the number of an item ("1.") begins the next one, what comes last stays with the one before.
    """
    found: list[str] = []
    begun = ""
    for part in filter(str.strip, re.split(r"(?<=[.!?])(?<!\bDr\.)(?<!\bDrs\.)\s+|\n+", text)):
        begun = f"{begun} {part}".strip()
        if re.search(r"[^\W\d_]", part):
            found.append(begun)
            begun = ""
    return [*found[:-1], f"{found[-1]} {begun}"] if found and begun else found or [begun] * bool(begun)


def mentions_prior(sentence: str) -> bool:
    """Whether a sentence compares to an earlier examination, by its words ("unchanged", "compared to", "interval", "again seen").

    A rule of words errs both ways: "stable" may be said of a patient. The task is that of CXR-PRO (Ramesh et al. 2022, "Improving
    Radiology Report Generation Systems by Removing Hallucinated References to Non-existent Priors", which trains a network for it); the
    words are ours, chosen on the reports of Open-i.
    """
    return _PRIOR.search(sentence) is not None


def without_priors(text: str) -> str:
    """The text without the sentences that compare to an earlier examination, which one picture cannot show; "" where none is left."""
    return " ".join(sentence for sentence in sentences(text) if not mentions_prior(sentence))
