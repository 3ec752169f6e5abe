"""Sections of reports as MIMIC-CXR and Open-i write them, and sentences that speak of an earlier examination."""

import json

import pytest

from mmrep.data.reports import mentions_prior, sections, sentences, without_priors

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
    (" FINDINGS AND IMPRESSION:  Lungs are clear.\n", {"findings": "Lungs are clear."}),
    (" WET READ: ___ 1:23 PM\n  no acute process.\n FINAL REPORT\n HISTORY: Cough.\n\n IMPRESSION:  Normal.\n",
     {"impression": "Normal.", "indication": "Cough.", "other": "___ 1:23 PM no acute process."}),
    (" PA AND LATERAL VIEWS OF THE CHEST: The lungs are clear.\n", {"findings": "The lungs are clear."}),
    (" CHEST RADIOGRAPH\n\n COMPARISON:  ___.\n \n Heart size:\n normal.\n", {"findings": "Heart size: normal.", "comparison": "___."}),
    ("Lungs are clear. No effusion.", {"findings": "Lungs are clear. No effusion."}),
    ("findings: none\nImpression: fine.\nIMPRESSION: again.", {"findings": "none", "impression": "fine. again."}),
    (" INDICATION: Cough.\n", {"indication": "Cough."}),
    ("", {}),
    (" FINDINGS:\n\n IMPRESSION:\n", {}),
])
def test_sections_of_others(text, found):
    assert sections(text) == found


def test_every_real_report_comes_back_whole(shared):
    rows = [json.loads(line) for line in (shared / "data" / "iu_cxr_reports" / "reports.jsonl").read_text().splitlines()]
    kinds = ("comparison", "indication", "findings", "impression")
    given = [{kind: " ".join(row[kind].split()) for kind in kinds if row[kind]} for row in rows]
    read = [sections("\n".join(f"{kind.upper()}: {text}" for kind, text in one.items())) for one in given]
    assert len(rows) == 3955 and all({k: v for k, v in found.items() if k in kinds} == one for one, found in zip(given, read))


def test_sentences_that_compare():
    for text in ("Stable cardiomegaly.", "No change in the left effusion.", "As compared to the previous radiograph, the tube is lower.",
                 "The clips are again seen.", "The effusion has increased.", "No longer a pneumothorax.", "Interval removal of the tube."):
        assert mentions_prior(text), text
    for text in ("The heart is normal.", "Clips from prior surgery.", "Degenerative changes of the spine.", "Increased lung markings.",
                 "The remaining bones are normal.", "Prior granulomatous disease."):
        assert not mentions_prior(text), text
    assert without_priors("Clear lungs. Unchanged heart.\nNo effusion.") == "Clear lungs. No effusion."
    assert without_priors("Unchanged.") == ""
    assert sentences("1. Clear lungs. 2. Clips") == ["1. Clear lungs.", "2. Clips"]
