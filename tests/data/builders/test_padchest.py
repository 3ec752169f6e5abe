from mmrep.data.builders.padchest import LABELS, PADCHEST
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = (",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
          "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,PixelRepresentation_DICOM,"
          "PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,"
          "XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,"
          "Labels,Localizations,LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS")


def test_padchest_parses_labels_and_brings_16_bits_to_8(tmp_path):
    names = HEADER.split(",")
    rows = []
    for n in range(40):
        row = {"ImageID": f"{n}.png", "ImageDir": n % 2, "StudyID": f"s{n // 2}", "PatientID": f"p{n // 2}", "StudyDate_DICOM": 20140915,
               "PatientBirth": "1930.0" if n < 39 else "",
               "PatientSex_DICOM": "F", "Projection": "AP_horizontal", "ReportID": n, "Report": "marcapas tricameral .",
               "MethodLabel": "Physician", "Labels": "['pacemaker', ' nephrostomy tube', 'suture']" if n else ""}
        rows.append([row.get(name, "") for name in names])
        write_picture(tmp_path / "raw" / "images" / str(n % 2) / f"{n}.png", 257 * 5 * n, "I;16")
    write_table(tmp_path / "raw" / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", HEADER, rows)
    found = prepared(PADCHEST, tmp_path)
    images = [r for split in found.values() for r in split]
    assert sorted(int(r["image"][0, 0, 0]) for r in images) == [5 * n for n in range(1, 40)]  # the one without labels is left out
    assert {LABELS[n] for n in images[0]["labels"].nonzero()[0]} == {"pacemaker", "nephrostomy tube"} and len(set(LABELS)) == 193
    assert sum(len({int(r["case"]) for r in split}) for split in found.values()) == 20 and all(found.values())
    assert sorted(int(r["age"]) for r in images) == [0] + 38 * [84] and images[0]["view"] == 3 and images[0]["physician"] == 1
