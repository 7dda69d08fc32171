# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls to jobd on its control socket, and what is often asked."""

import contextlib
import json
import socket

from scene import SOCKET


class Gone(Exception):
    """jobd is not there, or died before it answered."""


class Refused(Exception):
    """It answered with an error."""


@contextlib.contextmanager
def connected():
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            yield client
    except OSError as error:
        raise Gone from error


def ask_at_once(client, method, *calls):
    """The answers to several calls, of which none waits for another's."""
    messages = [{"method": f"org.jobd.{method}", "parameters": parameters} for parameters in calls]
    answers = b""
    client.sendall(b"".join(json.dumps(message).encode() + b"\0" for message in messages))
    while answers.count(b"\0") < len(calls):
        more = client.recv(65536)
        if not more:
            raise Gone
        answers += more
    return [json.loads(answer) for answer in answers.split(b"\0")[:-1]]


def ask(client, method, **parameters):
    answer = ask_at_once(client, method, parameters)[0]
    if "error" in answer:
        raise Refused(answer["error"], answer["parameters"])
    return answer.get("parameters", {})


def call(method, **parameters):
    with connected() as client:
        return ask(client, method, **parameters)


def row_of(job):
    return call("List", selection={"selectors": [str(job.id)]})["jobs"][0]


def tasks_of(job):
    return call("ListTasks", selector=str(job.id))["tasks"]


def is_target_stopped(job):
    return tasks_of(job)[1]["state"] == "stopped"


def list_schedules():
    return {plan["id"]: plan for plan in call("ListSchedules", limit=1000)["schedules"]}


def whole_of(number):
    """All that is told of a job that has ended, as jobctl export has it."""
    chosen = {"selectors": [str(number)]}
    job = call("List", selection=chosen, details=True)["jobs"][0]
    tasks = call("ListTasks", selector=str(number), limit=1000)["tasks"]
    with connected() as client:
        page = ask(client, "Receive", selection=chosen, again=True, keep=True)
        records = page["records"]
        while not page["isEnd"]:
            page = ask(client, "Receive", confirm=page["position"])
            records += page["records"]
    return job, tasks, records
