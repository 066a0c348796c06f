"""Write ward7.csv and ward9.csv, which stand in for your own records.

    python examples/two_wards.py

The files contain measurements of 569 breast tumours, dealt to two hospitals. The data set comes with scikit-learn
(Wolberg, Mangasarian and Street: Breast Cancer Wisconsin, Diagnostic). Each row is a tumour: 30 measurements of its
cells' nuclei, and its outcome, 0 for malignant and 1 for benign.
"""

from sklearn.datasets import load_breast_cancer

records = load_breast_cancer(as_frame=True).frame.rename(columns={"target": "outcome"}).sample(frac=1, random_state=0)
records[:300].to_csv("ward7.csv", index=False)
records[300:].to_csv("ward9.csv", index=False)
print(f"ward7.csv has 300 records, ward9.csv {len(records) - 300}")
