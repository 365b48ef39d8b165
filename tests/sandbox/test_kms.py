"""KMS: the rules about unusable keys, and what the agent decrypts with."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from ecs_exec_magic.sandbox.account import Account
from ecs_exec_magic.sandbox.api import ApiError
from ecs_exec_magic.sandbox.kms import Keys

from .conftest import Cluster

REGION = "us-east-1"
CONTEXT = {"aws:ssm:SessionId": "s", "aws:ssm:TargetId": "t"}


@pytest.fixture
def kms(shared: Cluster) -> Any:
    return shared.kms


def refused(function: Any, **given: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        function(**given)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_disabled_keys_are_refused(kms: Any) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    kms.create_alias(AliasName="alias/off", TargetKeyId=arn)
    kms.disable_key(KeyId=arn)
    wanted = ("DisabledException", f"{arn} is disabled.")
    assert refused(kms.generate_data_key, KeyId="alias/off", KeySpec="AES_256") == wanted
    assert refused(kms.encrypt, KeyId=arn, Plaintext=b"x") == wanted
    assert refused(kms.decrypt, CiphertextBlob=blob, EncryptionContext=CONTEXT) == wanted
    with pytest.raises(kms.exceptions.DisabledException):
        kms.generate_data_key_without_plaintext(KeyId=arn, KeySpec="AES_256")
    kms.enable_key(KeyId=arn)
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"x"


def test_keys_pending_deletion_are_refused(kms: Any) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    loose = boto3.client(
        "kms",
        endpoint_url=kms.meta.endpoint_url,
        region_name=REGION,
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
        config=Config(parameter_validation=False),
    )
    for days in (6, 31):
        code, message = refused(loose.schedule_key_deletion, KeyId=arn, PendingWindowInDays=days)
        assert code == "ValidationException" and f"'{days}' at 'pendingWindowInDays'" in message
    answer = kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    assert answer["DeletionDate"] and answer["KeyState"] == "PendingDeletion"
    wanted = ("KMSInvalidStateException", f"{arn} is pending deletion.")
    assert refused(kms.schedule_key_deletion, KeyId=arn, PendingWindowInDays=7) == wanted
    assert refused(kms.generate_data_key, KeyId=arn, KeySpec="AES_256") == wanted
    kms.cancel_key_deletion(KeyId=arn)
    kms.enable_key(KeyId=arn)
    assert kms.generate_data_key(KeyId=arn, KeySpec="AES_256")["KeyId"] == arn


def test_ciphertexts_that_do_not_open(kms: Any) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    for bad in (blob[:-1], b"x", b"0" * 200):
        with pytest.raises(kms.exceptions.InvalidCiphertextException):
            kms.decrypt(CiphertextBlob=bad, EncryptionContext=CONTEXT)
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=blob)
    code, message = refused(kms.generate_data_key, KeyId=arn, KeySpec="AES_256", NumberOfBytes=64)
    assert code == "ValidationException" and "number of bytes or key spec" in message
    other = kms.create_key()["KeyMetadata"]["Arn"]
    with pytest.raises(kms.exceptions.IncorrectKeyException):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, KeyId=other)


class Nobody:
    """A role that may do nothing."""

    async def role_allows(self, role_arn: str | None, action: str, resource: str) -> bool:
        self.asked = (role_arn, action, resource)
        return False


async def test_the_agents_decrypt() -> None:
    account = Account()
    try:
        keys = Keys(account)
        made = await account.call("kms", "create_key", REGION)
        arn, key_id = made["KeyMetadata"]["Arn"], made["KeyMetadata"]["KeyId"]
        data = await account.call(
            "kms",
            "generate_data_key",
            REGION,
            KeyId=arn,
            NumberOfBytes=64,
            EncryptionContext=CONTEXT,
        )
        blob = data["CiphertextBlob"]
        for name in (arn, key_id):
            assert await keys.decrypt(REGION, blob, CONTEXT, name, None) == data["Plaintext"]
        # the key's ARN says where it is
        assert await keys.decrypt("eu-west-1", blob, CONTEXT, arn, None) == data["Plaintext"]

        async def fails(code: str, given: bytes, context: dict[str, str], key: str) -> str:
            with pytest.raises(ApiError) as caught:
                await keys.decrypt(REGION, given, context, key, "arn:aws:iam::1:role/task")
            assert caught.value.code == code
            return caught.value.message

        await fails("InvalidCiphertextException", blob, {}, arn)
        await fails("InvalidCiphertextException", b"?", CONTEXT, arn)
        await fails("NotFoundException", blob, CONTEXT, "alias/none")
        other = (await account.call("kms", "create_key", REGION))["KeyMetadata"]["Arn"]
        await fails("IncorrectKeyException", blob, CONTEXT, other)
        keys.permissions = nobody = Nobody()
        message = await fails("AccessDeniedException", blob, CONTEXT, key_id)
        assert f"kms:Decrypt on resource: {arn} because" in message
        assert nobody.asked == ("arn:aws:iam::1:role/task", "kms:Decrypt", arn)
        keys.permissions = None
        await account.call("kms", "disable_key", REGION, KeyId=key_id)
        await fails("DisabledException", blob, CONTEXT, arn)
    finally:
        await account.close()
