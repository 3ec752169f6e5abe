import numpy as np

from mmrep.data.builders.mimic_iv_ecg import MIMIC_IV_ECG
from mmrep.data.medical.ecg import LEADS
from tests.data.builders.folders import prepared, write_table

RECORDS = "subject_id,study_id,file_name,ecg_time,path"
MACHINE = ("subject_id,study_id,cart_id,ecg_time,report_0,report_1,report_2,report_3,report_4,report_5,report_6,report_7,report_8,report_9,"
           "report_10,report_11,report_12,report_13,report_14,report_15,report_16,report_17,bandwidth,filtering,rr_interval,p_onset,p_end,"
           "qrs_onset,qrs_end,t_end,p_axis,qrs_axis,t_axis")
LIMB_FIRST = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]  # the order of the release's files


def test_mimic_iv_ecg_orders_leads_joins_reports_and_marks_what_was_not_measured(tmp_path, capsys):
    import wfdb

    records, machine = [], []
    for n in range(16):
        subject, study = 10000000 + n // 2, 40000000 + n
        place = f"files/p1000/p{subject}/s{study}"
        (tmp_path / "raw" / place).mkdir(parents=True)
        signal = np.tile(np.array([LEADS.index(lead) for lead in LIMB_FIRST]) / 10 + n / 100, (50, 1))
        if n == 0:
            signal[7, 3] = np.nan
        wfdb.wrsamp(str(study), fs=500, units=["mV"] * 12, sig_name=LIMB_FIRST, p_signal=signal, fmt=["16"] * 12, adc_gain=[1000.0] * 12,
                    baseline=[0] * 12, write_dir=str(tmp_path / "raw" / place))
        records.append([subject, study, study, "2180-07-23 08:44:00", f"{place}/{study}"])
        machine.append([subject, study, 6848296, "2180-07-23 08:44:00", "Sinus rhythm", "Possible right atrial abnormality", "",
                        "Borderline ECG", *[""] * 14, "0.005-150 Hz", "60 Hz notch", 659, 29999, 128, 170, 258, 518, 81, 77, 79])
    write_table(tmp_path / "raw" / "record_list.csv", RECORDS, records)
    write_table(tmp_path / "raw" / "machine_measurements.csv", MACHINE, machine)
    found = prepared(MIMIC_IV_ECG, tmp_path)
    assert "left out 1 records" in capsys.readouterr().err
    ecgs = [r for split in found.values() for r in split]
    assert len(ecgs) == 15 and sum(len({int(r["case"]) for r in split}) for split in found.values()) == 8
    for ecg in ecgs:
        assert ecg["signal"].shape == (50, 12) and np.allclose(np.diff(ecg["signal"][0]), 0.1, atol=2e-3)
        assert ecg["report"].decode() == "Sinus rhythm. Possible right atrial abnormality. Borderline ECG"
        assert (ecg["rr_interval"], ecg["rr_interval_known"], ecg["p_onset"], ecg["p_onset_known"]) == (659, 1, 0, 0)
