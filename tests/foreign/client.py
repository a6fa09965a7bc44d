"""A foreign client: Python's grpcio, with code that protoc makes from the proto files.

Usage: client.py STUBS ADDRESS CREDENTIAL-FILE DATA DIGEST KEY PUBLIC-KEY
Registers the public key, uploads the configuration, issues a token and repeats the request; prints JSON.
"""
import json
import sys
import uuid

stubs, address, credential_file, data, digest, key, public_key = sys.argv[1:]
sys.path.insert(0, stubs)

import grpc
from google.protobuf.json_format import MessageToDict
from vendkey.v1 import configuration_pb2, configuration_pb2_grpc
from vendkey.v1 import public_key_pb2, public_key_pb2_grpc
from vendkey.v1 import token_pb2, token_pb2_grpc


def text(path):
    with open(path) as file:
        return file.read()


metadata = [("authorization", "Bearer " + text(credential_file).strip())]
channel = grpc.insecure_channel(address)
keys = public_key_pb2_grpc.PublicKeyServiceStub(channel)
configurations = configuration_pb2_grpc.ConfigurationServiceStub(channel)
tokens = token_pb2_grpc.TokenServiceStub(channel)

with open(public_key, "rb") as file:
    keys.RegisterPublicKey(
        public_key_pb2.RegisterPublicKeyRequest(public_key=file.read(), display_name="foreign"),
        metadata=metadata,
    )
uploaded = configurations.UploadConfiguration(
    configuration_pb2.UploadConfigurationRequest(data=text(data), digest=text(digest), key=text(key)),
    metadata=metadata,
)
request = token_pb2.IssueTokenRequest(
    configuration=uploaded.configuration.name,
    meter="47500150231",
    request_id=str(uuid.uuid4()),
    electricity_credit=token_pb2.UnitCredit(decimal="10"),
)
first = tokens.IssueToken(request, metadata=metadata)
again = tokens.IssueToken(request, metadata=metadata)

refused = None
try:
    tokens.IssueToken(token_pb2.IssueTokenRequest(), metadata=metadata)
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
    "refused": refused,
    "anonymous": anonymous,
}))
