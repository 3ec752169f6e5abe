from mmrep.data.builders.mimic_iv import MIMIC_IV
from tests.data.builders.folders import prepared, write_table

PATIENTS = "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod"
ADMISSIONS = ("subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,admission_location,discharge_location,"
              "insurance,language,marital_status,race,edregtime,edouttime,hospital_expire_flag")
EVENTS = ("labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,valuenum,valueuom,ref_range_lower,"
          "ref_range_upper,flag,priority,comments")


def test_mimic_iv_takes_the_first_values_of_the_first_day(tmp_path):
    def event(hadm, item, time, value):
        return [1, "", hadm, 1, item, "", time, time, value, value, "", "", "", "", "", ""]

    admissions, events = [], []
    for n in range(40):
        admissions.append([10 + n // 2, 100 + n, "2180-05-06 22:23:00", "2180-05-08 22:23:00", "", "EW EMER.", "", "", "", "Medicare",
                           "", "", "WHITE", "", "", n % 2])
        events += [event(100 + n, 50912, "2180-05-07 09:00:00", 2.5), event(100 + n, 50912, "2180-05-07 01:00:00", 1.5),
                   event(100 + n, 50912, "2180-05-06 20:00:00", 0.5), event(100 + n, 50971, "2180-05-08 09:00:00", 4.0),
                   event("", 50983, "2180-05-07 09:00:00", 140), event(100 + n, 50983, "2180-05-07 09:00:00", "")]
    write_table(tmp_path / "raw" / "hosp" / "patients.csv.gz", PATIENTS, [[10 + n, "F", 52, 2178, "2014 - 2016", ""] for n in range(20)])
    write_table(tmp_path / "raw" / "hosp" / "admissions.csv.gz", ADMISSIONS, admissions)
    write_table(tmp_path / "raw" / "hosp" / "labevents.csv.gz", EVENTS, events)
    found = prepared(MIMIC_IV, tmp_path)
    stays = [r for split in found.values() for r in split]
    assert len(stays) == 40 and sum(int(r["died"]) for r in stays) == 20
    assert sum(len({int(r["case"]) for r in split}) for split in found.values()) == 20
    for stay in stays:  # before admission, after a day, of no admission and without a number count for nothing
        assert (stay["creatinine"], stay["creatinine_known"], stay["potassium_known"], stay["sodium_known"]) == (1.5, 1, 0, 0)
        assert (stay["age"], stay["days"]) == (54, 2)
