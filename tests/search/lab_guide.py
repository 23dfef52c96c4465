"""The lab guide's eleven searches as printed (design, `lab.md`), `…` written out; and UC1 by pandas."""

import numpy as np
import pandas as pd

UC1 = (
    'index=botsv3 sourcetype="stream:tcp" | bin _time span=1m | stats count as numFlows avg(bytes_in) as avgBytes '
    "sum(bytes_in) as sumBytes avg(client_rtt) as avgDuration dc(dest_ip) as uniqueDstIp dc(dest_port) as "
    "uniqueDstPort dc(protocol_stack) as uniqueProtocols by _time src_ip"
)
CARDS = "| inputlookup credit_card_test.csv"
EVENTS = 'index=botsv3 source="*WinEventLog:Security"'
HOURLY = (
    f"{EVENTS} | bin _time span=1h | fillnull value=unknown Account_Name "
    "| stats count by _time ComputerName Account_Name EventCode"
)
FIT = (
    "fit MLTKContainer {mode}algo=a_threat_hunting_notebook _time ComputerName Account_Name EventCode count "
    "into app:a_threat_hunt_model"
)
REPORT = (
    "where predicted_outlier<0 | eval predicted_outlier = abs(predicted_outlier) "
    "| stats sum(predicted_outlier) as anomaly_score by ComputerName | sort -anomaly_score"
)

# In the guide's order. The last one is printed with `mode=stage` and means the fit.
SEARCHES = {
    "cards": CARDS,
    "all": "index=botsv3",
    "uc1": UC1,
    "uc1 apply": f"{UC1} | apply onnx:nn_botnet",
    "uc1 where": f"{UC1} | apply onnx:nn_botnet | where 'predicted(botnet)'>=1",
    "uc2": f"{CARDS} | apply onnx:credit_card_fraud | table V* predicted(Class)",
    "uc2 app": f"{CARDS} | apply app:onnx:credit_card_fraud | table V* predicted(Class)",
    "uc3 events": EVENTS,
    "uc3 hourly": HOURLY,
    "uc3 stage": f"{HOURLY} | {FIT.format(mode='mode=stage ')}",
    "uc3 report": f"{HOURLY} | {FIT.format(mode='')} | {REPORT}",
    "uc3 report staged": f"{HOURLY} | {FIT.format(mode='mode=stage ')} | {REPORT}",
}


def per_minute(flows: pd.DataFrame) -> pd.DataFrame:
    """What UC1 finds in flows, by pandas."""
    grouped = flows.assign(_time=np.floor(flows["_time"] / 60) * 60).groupby(["_time", "src_ip"])
    wanted = {
        "numFlows": grouped.size(),
        "avgBytes": grouped["bytes_in"].mean(),
        "sumBytes": grouped["bytes_in"].sum(min_count=1),
        "avgDuration": grouped["client_rtt"].mean(),
        "uniqueDstIp": grouped["dest_ip"].nunique(),
        "uniqueDstPort": grouped["dest_port"].nunique(),
        "uniqueProtocols": grouped["protocol_stack"].nunique(),
    }
    return pd.DataFrame(wanted).reset_index()
