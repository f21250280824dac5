import os
import shutil
import subprocess
import sys
import warnings
from multiprocessing import get_context

import boto3
from joblib import Parallel, delayed


def version_of_boto3_in_a_child(bucket):
    boto3.client("s3").put_object(Bucket=bucket, Key="from-a-child", Body=b"too")
    return boto3.__version__


def key_in_a_child(name):
    found = boto3.client("s3").get_object(Bucket="old-boto3", Key=name)["Body"].read()
    return found.decode(), os.getpid()


def endpoint(service, **given):
    return boto3.session.Session().client(service, **given).meta.endpoint_url


class Handler:
    def __init__(self, config):
        self.s3 = boto3.client("s3", **config)
        self.s3.create_bucket(Bucket="old-boto3")

    def endpoints(self):
        key = os.environ["AWS_ACCESS_KEY_ID"]
        found = [endpoint("s3", aws_access_key_id="OWN", aws_secret_access_key="own"), endpoint("sqs")]
        os.environ["AWS_ACCESS_KEY_ID"] = "OWN"
        found.append(endpoint("s3"))
        os.environ["AWS_ACCESS_KEY_ID"] = key
        return found

    def handle_async(self, payload):
        self.s3.put_object(Bucket="old-boto3", Key="key", Body=payload)
        with get_context("spawn").Pool(1) as pool:
            child = pool.apply(version_of_boto3_in_a_child, ("old-boto3",))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            loky = Parallel(n_jobs=2)(delayed(key_in_a_child)(name) for name in ("key", "from-a-child"))
        listed = boto3.resource("s3").Bucket("old-boto3").objects.all()
        return {
            "versions": [boto3.__version__, child],
            "keys": sorted(item.key for item in listed),
            "loky": [found for found, pid in loky if pid != os.getpid()],
            "warnings": [str(each.message) for each in warned if each.category is UserWarning],
            "endpoints": self.endpoints(),
            "python": shutil.which("python") == sys.executable,
            "tqdm": subprocess.check_output(["tqdm", "--version"], text=True).strip(),
            "imported": subprocess.call(["python", "-c", "import tqdm, handler"]) == 0,
        }
