"""Sections of reports as MIMIC-CXR and Open-i write them, and sentences that speak of an earlier examination."""

import json
from collections import Counter

import numpy as np
import pytest

from mmrep.data.reports import SECTIONS, mentions_prior, sections, sentences, without_priors

FULL = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // eval for infection

 COMPARISON:  None.

 FINDINGS:

 There is no focal consolidation.  The cardiomediastinal
 silhouette is normal: nothing else.

 IMPRESSION:

 1. No acute process.
 2. Clips.
"""


def test_sections_of_a_whole_report():
    assert sections(FULL) == {
        "findings": "There is no focal consolidation. The cardiomediastinal silhouette is normal: nothing else.",
        "impression": "1. No acute process. 2. Clips.", "indication": "___F with cough // eval for infection", "comparison": "None.",
        "examination": "CHEST (PA AND LAT)"}


@pytest.mark.parametrize("text, found", [
    (" FINDINGS AND IMPRESSION:  Lungs are clear.\n", {"impression": "Lungs are clear."}),
    (" IMPRESSION:  Tube at the carina.\n \n AP CHEST COMPARED TO ___:\n \n Lungs are clear.\n",
     {"impression": "Tube at the carina.", "findings": "Lungs are clear."}),
    (" FINDINGS:\n LUNGS: Clear.\n LINES AND TUBES: None.\n\n IMPRESSION:\n LUNGS: Clear.\n",
     {"findings": "LUNGS: Clear. LINES AND TUBES: None.", "impression": "LUNGS: Clear."}),
    (" INDICATION: Fall.\n LUNGS: Clear.\n IMPRESSION: Normal.\n", {"indication": "Fall.", "impression": "Normal.", "other": "Clear."}),
    ("INDICATION: Cough. FINDINGS: Clear lungs. No effusion. IMPRESSION: Normal.",
     {"indication": "Cough.", "findings": "Clear lungs. No effusion.", "impression": "Normal."}),
    (" FINDINGS/ IMPRESSION:  Clear.\n", {"impression": "Clear."}),
    (" NDICATION: Cough.\n \n COMPARRISON: None.\n \n FINDNGS: Clear.\n \n IMPRESSON: Normal.\n",
     {"indication": "Cough.", "comparison": "None.", "findings": "Clear.", "impression": "Normal."}),
    (" CHEST, PA LATERAL:\n \n INDICATION:  Cough.\n \n The lungs are clear.\n \n The heart is normal.\n \n DR. ___\n",
     {"findings": "The lungs are clear. The heart is normal. DR. ___", "indication": "Cough."}),
    (" FINAL REPORT\n AP CHEST, 4:15 A.M. ON ___\n \n The tube ends at T4.\n \n No effusion.\n",
     {"findings": "The tube ends at T4. No effusion.", "other": "AP CHEST, 4:15 A.M. ON ___"}),
    (" WET READ: ___ 9:03 PM\n  Tube at the carina. WET READ 1\n", {"other": "___ 9:03 PM Tube at the carina. WET READ 1"}),
    (" FINDINGS:  Clear.\n\n ADDENDUM:  The tube was moved.\n", {"findings": "Clear.", "other": "The tube was moved."}),
    (" TECHNIQUE:  Chest, AP.\n REFERENCE EXAM:  ___.\n RECOMMENDATION(S):  CT.\n IMPRESSION:  Nodule.\n",
     {"technique": "Chest, AP.", "comparison": "___.", "recommendation": "CT.", "impression": "Nodule."}),
    (" WET READ: ___ 1:23 PM\n  no acute process.\n FINAL REPORT\n HISTORY: Cough.\n\n IMPRESSION:  Normal.\n",
     {"impression": "Normal.", "indication": "Cough.", "other": "___ 1:23 PM no acute process."}),
    (" PA AND LATERAL VIEWS OF THE CHEST: The lungs are clear.\n", {"findings": "The lungs are clear."}),
    (" CHEST RADIOGRAPH\n\n COMPARISON:  ___.\n \n Heart size:\n normal.\n",
     {"findings": "Heart size: normal.", "comparison": "___.", "other": "CHEST RADIOGRAPH"}),
    ("Lungs are clear. No effusion.", {"findings": "Lungs are clear. No effusion."}),
    ("a\nfindings : none\nImpression: fine.\nIMPRESSION: again.", {"findings": "none", "impression": "fine. again.", "other": "a"}),
    (" INDICATION: Cough.\n", {"indication": "Cough."}),
    ("IMPRESSION:\nNo acute process.\nELECTRONICALLY SIGNED BY: JANE DOE, MD\nDICTATED BY: JOHN SMITH\nCC: DR. BAR",
     {"impression": "No acute process.", "other": "JANE DOE, MD JOHN SMITH DR. BAR"}),
    ("IMPRESSION: Clear.\n\nREAD BY: J. DOE\nDATE OF SERVICE: 1/2\nMRN: 12\nREFERRING MD: ROE\nICD10: R91\nLOCATION: left.",
     {"impression": "Clear.", "other": "J. DOE 1/2 12 ROE R91 left."}),
    ("DR CHEST PA AND LATERAL:\nRight effusion.\n\nIMPRESSION: Effusion.", {"findings": "Right effusion.", "impression": "Effusion."}),
    ("PORTABLE CHEST, TIME 14.10:\nRight effusion.", {"findings": "Right effusion."}),
    ("FINDINGS: ok.\n\nTIME OF FLIGHT MRA:\nStenosis.\nPATIENT'S DEVICES:\nPort.\nLIMITED BY: motion.",
     {"findings": "ok. TIME OF FLIGHT MRA: Stenosis. PATIENT'S DEVICES: Port. LIMITED BY: motion."}),
    ("IMPRESSION: a.\nNAME AND LOCATION OF NODULE: right.", {"impression": "a. NAME AND LOCATION OF NODULE: right."}),
    ("FINDINGS: Mass.\n\nLOCATION: left.\n\nLIMITATIONS: none.", {"findings": "Mass. LOCATION: left. LIMITATIONS: none."}),
    ("FINDINGS:\nRIGHT RIBS: Fractures of ribs 5 to 7.\nCHEST: Clear.", {"findings": "RIGHT RIBS: Fractures of ribs 5 to 7. Clear."}),
    ("", {}),
    (" FINDINGS:\n\n IMPRESSION:\n", {}),
])
def test_sections_of_others(text, found):
    assert sections(text) == found


def test_any_text_keeps_its_words():
    """Of lines in any order every word but those of headings comes back, once, and nothing is raised."""
    lines = (" FINDINGS:  Clear.", " IMPRESSION:", "IMPRESSION: a: b", " FINAL REPORT", " wet read: ___", "", " ", " The heart:",
             " No ___ seen.", ":", " PA CHEST, ___:", "x" * 90 + ":", " A" * 80 + ": z", "1. one\t2. two")
    rng = np.random.default_rng(0)
    for _ in range(500):
        text = "\n".join(lines[k] for k in rng.integers(0, len(lines), rng.integers(0, 9)))
        told = Counter(word for part in sections(text).values() for word in part.split())
        assert told <= Counter(text.split()) and set(sections(text)) <= set(SECTIONS)
        lost = Counter(text.split()) - told
        assert not set(lost) - {"FINDINGS:", "IMPRESSION:", "FINAL", "REPORT", "wet", "read:", "PA", "CHEST,", "___:"}


def test_every_real_report_comes_back_whole(shared):
    rows = [json.loads(line) for line in (shared / "data" / "iu_cxr_reports" / "reports.jsonl").read_text().splitlines()]
    kinds = ("comparison", "indication", "findings", "impression")
    given = [{kind: " ".join(row[kind].split()) for kind in kinds if row[kind]} for row in rows]
    read = [sections("\n".join(f"{kind.upper()}: {text}" for kind, text in one.items())) for one in given]
    assert len(rows) == 3955 and all({k: v for k, v in found.items() if k in kinds} == one for one, found in zip(given, read))


def test_sentences_that_compare():
    for text in ("Stable cardiomegaly.", "No change in the left effusion.", "As compared to the previous radiograph, the tube is lower.",
                 "The clips are again seen.", "The effusion has increased.", "No longer a pneumothorax.", "Interval removal of the tube.",
                 "New right effusion.", "The heart is again enlarged.",
                 "Hiatal hernia as before.", "2. Resolution of the effusion.", "The nodule, previously seen, is smaller.",
                 "Opacity has cleared since ___.", "The drain has been removed.", "Lung volumes remain low."):
        assert mentions_prior(text), text
    for text in ("The heart is normal.", "Clips from prior surgery.", "Degenerative changes of the spine.", "Increased lung markings.",
                 "The remaining bones are normal.", "Prior granulomatous disease.", "Renewal of the line.", "Follow up to resolution.",
                 "Enlarged heart due to recent pregnancy.", "Repeat films to document complete resolution.", "Right worse than left."):
        assert not mentions_prior(text), text
    assert without_priors("Clear lungs. Unchanged heart.\nNo effusion.") == "Clear lungs. No effusion."
    assert without_priors("Unchanged.") == ""
    assert sentences("1. Clear lungs. 2. Clips") == ["1. Clear lungs.", "2. Clips"]
    assert sentences("Told to Dr. ___ at 3:10. Done.") == ["Told to Dr. ___ at 3:10.", "Done."]


def test_sentences_of_real_reports(shared):
    """Every word is in a sentence; about 8 of 100 sentences compare, and what is left of a report without them does not."""
    rows = [json.loads(line) for line in (shared / "data" / "iu_cxr_reports" / "reports.jsonl").read_text().splitlines()]
    texts = [" ".join(row[kind].split()) for row in rows for kind in ("findings", "impression") if row[kind]]
    parts = [sentences(text) for text in texts]
    assert [" ".join(found) for found in parts] == texts
    assert 0.08 < sum(mentions_prior(one) for found in parts for one in found) / sum(map(len, parts)) < 0.09
    left = [without_priors(text) for text in texts]
    assert left != texts and not any(mentions_prior(one) for text in left for one in sentences(text))
