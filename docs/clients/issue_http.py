"""Issues a token for electricity over HTTP with JSON, and repeats the request until there is an answer.

Usage: issue_http.py URL CREDENTIAL-FILE CONFIGURATION METER KWH
"""
import sys
import time
import uuid

import requests

url, credential_file, configuration, meter, kwh = sys.argv[1:]
session = requests.Session()
with open(credential_file) as file:
    session.headers["Authorization"] = "Bearer " + file.read().strip()
# With TLS, where the machine does not know the authority: session.verify = "ca.pem"

sale = {
    "configuration": configuration,
    "meter": meter,
    # Made once for each sale and kept with it: whatever is asked again under it is answered, and never issued twice.
    "requestId": str(uuid.uuid4()),
    "electricityCredit": {"decimal": kwh},
}
for attempt in range(8):
    try:
        answer = session.post(url + "/v1/tokens:issue", json=sale, timeout=5)
    except (requests.ConnectionError, requests.Timeout) as error:
        problem, wait, again = str(error), None, True
    else:
        if answer.ok:
            print(answer.json()["token"])
            break
        refusal = answer.json()
        info = next((detail for detail in refusal.get("details", []) if "reason" in detail), {})
        problem = info.get("reason", str(answer.status_code)) + ": " + refusal["message"]
        wait = answer.headers.get("Retry-After")
        maybe = info.get("metadata", {}).get("issued") == "maybe"
        again = maybe or answer.status_code in (429, 503, 504)
    if not again or attempt == 7:
        sys.exit(problem)
    time.sleep(float(wait) if wait else 0.1 * 2**attempt)
