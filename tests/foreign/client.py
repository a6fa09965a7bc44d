"""A foreign client: Python's grpcio, with code that protoc makes from the proto files.

Usage: client.py STUBS ADDRESS ADMINISTRATOR-CREDENTIAL TILL-CREDENTIAL DATA DIGEST KEY PUBLIC-KEY TARGET
Registers the public key, uploads the configuration, issues a token and repeats the request, issues one of each kind and verifies
it, changes a meter's key to that of the configuration TARGET; prints JSON.
"""
import json
import sys
import uuid

stubs, address, administrator_file, till_file, data, digest, key, public_key, target = sys.argv[1:]
sys.path.insert(0, stubs)

import grpc
from google.protobuf.json_format import MessageToDict
from vendkey.v1 import configuration_pb2, configuration_pb2_grpc
from vendkey.v1 import public_key_pb2, public_key_pb2_grpc
from vendkey.v1 import token_pb2, token_pb2_grpc


def text(path):
    with open(path) as file:
        return file.read()


administrator, till = ([("authorization", "Bearer " + text(file).strip())] for file in (administrator_file, till_file))
channel = grpc.insecure_channel(address)
keys = public_key_pb2_grpc.PublicKeyServiceStub(channel)
configurations = configuration_pb2_grpc.ConfigurationServiceStub(channel)
tokens = token_pb2_grpc.TokenServiceStub(channel)

with open(public_key, "rb") as file:
    keys.RegisterPublicKey(
        public_key_pb2.RegisterPublicKeyRequest(public_key=file.read(), display_name="foreign"),
        metadata=administrator,
    )
uploaded = configurations.UploadConfiguration(
    configuration_pb2.UploadConfigurationRequest(data=text(data), digest=text(digest), key=text(key)),
    metadata=administrator,
)
request = token_pb2.IssueTokenRequest(
    configuration=uploaded.configuration.name,
    meter="47500150231",
    request_id=str(uuid.uuid4()),
    electricity_credit=token_pb2.UnitCredit(decimal="10"),
)
first = tokens.IssueToken(request, metadata=till)
again = tokens.IssueToken(request, metadata=till)
packed = tokens.IssueToken(request, metadata=till, compression=grpc.Compression.Gzip)

meter = "47500150231"
units, money = token_pb2.UnitCredit(decimal="1.5"), token_pb2.CurrencyCredit(decimal="-2.5")
watts, raw = token_pb2.Power(watts=1000), token_pb2.RawRegister(value=7)
kinds = {
    "electricity_credit": units,
    "water_credit": units,
    "gas_credit": units,
    "time_credit": units,
    "electricity_currency_credit": money,
    "water_currency_credit": money,
    "gas_currency_credit": money,
    "time_currency_credit": money,
    "maximum_power_limit": watts,
    "clear_credit": token_pb2.ClearCredit(register=token_pb2.ClearCredit.ALL),
    "tariff_rate": raw,
    "clear_tamper": token_pb2.ClearTamper(),
    "maximum_phase_power_unbalance": watts,
    "water_meter_factor": raw,
    "extended": token_pb2.Extended(index=63, value=1),
}


def look(digits):
    answer = tokens.VerifyToken(
        token_pb2.VerifyTokenRequest(token=digits, configuration=uploaded.configuration.name, meter=meter),
        metadata=till,
    )
    return token_pb2.VerifyTokenResponse.Result.Name(answer.result)


verified = {}
for kind, content in kinds.items():
    issued = tokens.IssueToken(
        token_pb2.IssueTokenRequest(
            configuration=uploaded.configuration.name,
            meter=meter,
            request_id=str(uuid.uuid4()),
            **{kind: content},
        ),
        metadata=till,
    )
    verified[kind] = look(issued.token)
test = tokens.IssueToken(
    token_pb2.IssueTokenRequest(
        request_id=str(uuid.uuid4()), meter_test=token_pb2.MeterTest(all=token_pb2.AllTests())
    ),
    metadata=till,
)
verified["meter_test"] = look(test.token)

configurations.AllowKeyChange(
    configuration_pb2.AllowKeyChangeRequest(source=uploaded.configuration.name, target=target),
    metadata=administrator,
)
change = tokens.IssueKeyChange(
    token_pb2.IssueKeyChangeRequest(
        source=uploaded.configuration.name, target=target, meter=meter, request_id=str(uuid.uuid4())
    ),
    metadata=till,
)

refused = None
try:
    tokens.IssueToken(token_pb2.IssueTokenRequest(), metadata=till)
except grpc.RpcError as error:
    refused = {"code": error.code().name, "details": error.details()}
try:
    tokens.IssueToken(request)
    anonymous = "accepted"
except grpc.RpcError as error:
    anonymous = error.code().name

print(json.dumps({
    "configuration": MessageToDict(uploaded.configuration),
    "first": MessageToDict(first),
    "again": MessageToDict(again),
    "packed": MessageToDict(packed),
    "verified": verified,
    "change": [look(token.token) for token in change.tokens],
    "refused": refused,
    "anonymous": anonymous,
}))
