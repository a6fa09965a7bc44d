"""Issues a token for electricity, and repeats the request until there is an answer.

Usage: issue.py ADDRESS CREDENTIAL-FILE CONFIGURATION METER KWH
"""
import sys
import time
import uuid

import grpc
from vendkey.v1 import token_pb2, token_pb2_grpc

address, credential_file, configuration, meter, kwh = sys.argv[1:]
with open(credential_file) as file:
    metadata = [("authorization", "Bearer " + file.read().strip())]
# With TLS: grpc.secure_channel(address, grpc.ssl_channel_credentials(open("ca.pem", "rb").read()))
channel = grpc.insecure_channel(address)
tokens = token_pb2_grpc.TokenServiceStub(channel)

request = token_pb2.IssueTokenRequest(
    configuration=configuration,
    meter=meter,
    # Made once for each sale and kept with it: whatever is asked again under it is answered, and never issued twice.
    request_id=str(uuid.uuid4()),
    electricity_credit=token_pb2.UnitCredit(decimal=kwh),
)
AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
)
for attempt in range(8):
    try:
        print(tokens.IssueToken(request, metadata=metadata, timeout=5).token)
        break
    except grpc.RpcError as error:
        if error.code() not in AGAIN or attempt == 7:
            sys.exit(f"{error.code().name}: {error.details()}")
        time.sleep(0.1 * 2**attempt)
