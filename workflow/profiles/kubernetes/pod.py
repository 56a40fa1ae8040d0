"""Submit, watch and cancel Snakemake's jobs as Kubernetes jobs, through `kubectl`.

Snakemake's own Kubernetes executor copies declared files through an object store; a stage writes whole folders, so the
pods share one volume instead. Environment: SSMDE_IMAGE, SSMDE_CLAIM (the volume claim), SSMDE_MOUNT (where it is
mounted, here too).
"""

import json
import os
import re
import subprocess
import sys
import uuid


def manifest(script: str, rule: str, threads: str, memory: str, minutes: str, gpus: str) -> dict:
    """A Kubernetes job that runs one job script of Snakemake in the current folder."""
    resources = {"cpu": threads, "memory": f"{memory}M"} | ({"nvidia.com/gpu": gpus} if int(gpus) else {})
    container = {
        "name": "stage",
        "image": os.environ.get("SSMDE_IMAGE", "python:3.11"),
        "command": ["sh", script],
        "workingDir": os.getcwd(),
        "env": [{"name": "PATH", "value": os.environ["PATH"]}],
        "resources": {"requests": resources, "limits": resources},
        "volumeMounts": [{"name": "tutorial", "mountPath": os.environ.get("SSMDE_MOUNT", "/ssmde")}],
    }
    check_manifest = {"claimName": os.environ.get("SSMDE_CLAIM", "ssmde")}
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 120,  # SIGTERM, then time to save the state of a training
        "activeDeadlineSeconds": 60 * int(minutes),
        "containers": [container],
        "volumes": [{"name": "tutorial", "persistentVolumeClaim": check_manifest}],
    }
    name = f"ssmde-{re.sub(r'[^a-z0-9]+', '-', rule.lower())[:40]}-{uuid.uuid4().hex[:8]}"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": 3600, "template": {"spec": pod}},
    }


def kubectl(*words: str, text: str | None = None) -> str:
    return subprocess.run(["kubectl", *words], input=text, capture_output=True, text=True, check=True).stdout.strip()


def main(action: str, *words: str) -> None:
    if action == "submit":
        *options, script = words
        print(kubectl("create", "--output=name", "--filename=-", text=json.dumps(manifest(script, *options))))
    elif action == "status":
        status = json.loads(kubectl("get", words[0], "--output=json"))["status"]
        print("success" if status.get("succeeded") else "failed" if status.get("failed") else "running")
    else:
        kubectl("delete", *words)


if __name__ == "__main__":
    main(*sys.argv[1:])
