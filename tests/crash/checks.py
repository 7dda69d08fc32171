# SPDX-License-Identifier: LGPL-2.1-or-later
"""What there is in the end, against what was told."""

import collections
import contextlib
import json

from model import EVERY, FINAL, RETRIES
from results import Results, check_log, compare
from retention import pruned_runs
from scene import LEDGER, OUTPUT_MAX, fault, has_come
from wire import Refused, call, is_target_stopped, list_schedules, row_of, tasks_of, whole_of

ATTEMPTS_MAX = 32  # deaths of jobd that one task outlives (jobs-recover.c)


def check_command(job, task, tasks, again, runs):
    """One task of an ssh job: what its host saw, and what it said. tasks: of the job and its retries."""
    what = f"{job.name} ({job.way}), task {task}"
    end = again.ends[task]
    state = end["state"]
    times = runs[(again.targets[task], job.command)]
    # A retry by a client runs the same command
    ends = [again.ends[one] for one in tasks if again.targets[one] == again.targets[task]]
    if job.way in ("once", "long") and times > len(ends):
        fault(f"{what}: the command ran {times} times in {len(ends)} jobs, and nobody said --rerun")
    if times > sum(one["attempts"] for one in ends):
        fault(f"{what}: the command ran {times} times, of which each was to be an attempt: {ends}")
    if times < sum(one["state"] in ("succeeded", "failed") for one in ends):
        fault(f"{what}: the command ran {times} times, and ended {len(ends)} times")
    failed = sum(one.get("error") == "exit" for one in ends)
    if times < failed * (RETRIES + 1) and job.stop is None and job.target is None:
        fault(f"{what}: the command ran {times} times in {failed} jobs, and {RETRIES} retries were asked for")
    if job.way == "retry" and times > len(ends) * (RETRIES + 1):
        fault(f"{what}: the command ran {times} times in {len(ends)} jobs, and {RETRIES} retries were asked for")
    check_output(job, what, end, again.whole.get(task + ("stdout",), ""), times)


def check_output(job, what, end, output, times):
    """Of a task whose command ran so many times; of each no more is kept than its cap."""
    state, error = end["state"], end.get("error")
    kept = job.said[:job.cap]
    pieces = [f"#{piece}" for piece in output.split("#")[1:]]
    for piece in pieces:
        if not kept.startswith(piece):
            fault(f"{what}: the output is not what the host said, at most {job.cap} bytes: {piece[:80]!r}")
    if len(pieces) > times:
        fault(f"{what}: {len(pieces)} outputs of {times} commands")
    if state == "succeeded" and kept != job.said:
        fault(f"{what}: it is {state}, and its output was cut after {job.cap} bytes")
    if error == "output_limit" and (kept == job.said or "cut" not in end["message"]):
        fault(f"{what}: '{end['message']}', and {len(job.said)} of {job.cap} bytes were said")
    if state == "succeeded" or error in ("exit", "output_limit"):
        if not pieces or pieces[-1] != kept or end["ssh"]["stdoutBytes"] != len(kept):
            fault(f"{what}: it is {state}, and its output is not whole")


def check_adjusted(job, what):
    row = call("List", selection={"selectors": [str(job.id)]}, details=True)["jobs"][0]
    options = row["options"]
    there = {"name": row.get("name"), "rate": options[row["kind"]].get("rate"),
             **{field: options.get(field) for field in ("parallel", "deadlineUsec")}}
    for field, value in there.items():
        if value not in job.kept[field]:
            fault(f"{what}: its {field} is {value}, and {job.kept[field]} was told")
    if options["name"] != row["name"]:
        fault(f"{what} is called {row['name']}, and {options['name']} in its options")


def check_retry(retry, row, tasks, again, runs):
    """tasks: by job, the ends that were received."""
    what = f"job {retry.id} ({retry.token})"
    if row is None:
        fault(f"{what} was told, and is not there")
        return
    if row.get("retryOf") != retry.of.id:
        fault(f"{what} is of job {row.get('retryOf')}, and {retry.of.id} was asked for")
    if row["state"] not in FINAL:
        fault(f"{what} is {row['state']}")
    there = [task["target"] for task in tasks_of(retry)]
    if there != retry.wanted:
        fault(f"{what} has the targets {there}, and of job {retry.of.id} {retry.wanted} did not succeed")
    if row["kind"] == "ssh":
        family = family_of(retry.of, tasks)
        for task in tasks[retry.id]:
            check_command(retry.of, task, family, again, runs)


def family_of(job, tasks):
    """The tasks of a job and of all its retries."""
    return [task for one in (job, *job.retries) for task in tasks[one.id]]


def check_taken(job, lines, runs):
    """Gone by receive --remove; lines are what its cursor moved over."""
    what = f"job {job.id} ({job.name}, {job.way})"
    received = Results(lines, ())
    tasks = sorted(received.ends)
    if len(tasks) != len(job.targets):
        fault(f"{what} was removed when it was received, and so were {len(tasks)} ends of {len(job.targets)}")
    for task in tasks:
        if job.kind == "ssh":
            check_command(job, task, tasks, received, runs)


def check_job(job, row, tasks_by_job, again, runs):
    tasks, family = tasks_by_job[job.id], family_of(job, tasks_by_job)
    what = f"job {job.id} ({job.name}, {job.way})"
    if row is None and job.remove is None:
        fault(f"{what} was told, and is not there")
    if row is None:
        return
    if job.remove == "told":
        fault(f"{what} was removed, and is there")
    check_adjusted(job, what)
    if row["state"] not in FINAL:
        fault(f"{what} is {row['state']}")
    # Only such as had not ended are told
    is_stopped = job.stop == "told" and job.way != "deadline" or job.way == "endless"
    if is_stopped and row["state"] != "stopped" and row["interrupted"] == 0:
        fault(f"{what} was stopped, and is {row['state']}")
    if job.way == "deadline" and job.stop is None and job.remove is None:
        if row["state"] != "failed" or "deadline" not in row.get("reason", ""):
            fault(f"{what} is {row['state']}, and its deadline passed")
        # A timer may come a turn early
        elif row["endedUsec"] - row["createdUsec"] < min(job.kept["deadlineUsec"]) * 7 // 8:
            fault(f"{what} ended before its deadline")
    if job.stop is None and job.target is None and job.remove is None:
        if row["state"] == "stopped":
            fault(f"{what} is stopped, and nobody asked for it")
        worn_out = any(again.ends[task]["attempts"] >= ATTEMPTS_MAX for task in tasks)
        if job.way in ("ping", "rerun") and row["state"] != "completed" and not worn_out:
            fault(f"{what} is {row['state']}")
    if job.remove is not None:
        return
    if len(tasks) != row["tasks"] and row["state"] != "stopped":
        fault(f"{what}: {row['tasks']} tasks, and {len(tasks)} ends")
    for task in tasks:
        end = again.ends[task]
        if row["kind"] == "ssh":
            check_command(job, task, family, again, runs)
        elif end["state"] == "interrupted" and end["attempts"] < ATTEMPTS_MAX:
            fault(f"{what}: a ping was interrupted after {end['attempts']} attempts")


def check_control(job):
    """What was told of a job, before settle() tells more. jobd has just started."""
    what = f"job {job.id} ({job.name}, {job.way})"
    if job.stop == "told" and not has_come(lambda: row_of(job)["state"] in FINAL):
        fault(f"{what}: its stop was told, and it is {row_of(job)['state']}")
    row = row_of(job)
    if row["state"] == "paused" and (job.held is None or row["running"] > 0):
        fault(f"{what} is paused, {row['running']} tasks run, and its pause was {job.held}")
    if job.stop is not None or job.way != "endless":
        return
    if row["running"] > max(most or row["tasks"] for most in job.kept["parallel"]):
        fault(f"{what}: {row['running']} tasks run, and {job.kept['parallel']} at a time were told")
    if job.held == "told" and row["state"] != "paused":
        fault(f"{what}: its pause was told, and it is {row['state']}")
    if job.target == "told" and not has_come(lambda: is_target_stopped(job)):
        fault(f"{what}: the stop of a target was told, and it runs")
    if job.target is None and is_target_stopped(job):
        fault(f"{what}: a target is stopped, and nobody asked for it")


def check_output_max():
    """More may not even be asked for."""
    try:
        call("Start", kind="ssh", targets=["127.0.0.1"], ssh={"commands": ["#"], "maxOutput": OUTPUT_MAX + 1})
        fault("a job may keep more output than max-output-per-task")
    except Refused as error:
        if "max-output-per-task" not in str(error):
            fault(f"more than max-output-per-task is refused by {error}")


def settle(clients):
    """All that goes on for ever is stopped, the rest ends, and all is received."""
    plans = list_schedules()
    for schedule in clients.schedules:
        plan = plans.get(schedule.id)
        if plan and schedule.paused not in (None, plan["paused"]):
            fault(f"schedule s{schedule.id} is {'' if plan['paused'] else 'not '}paused, and the other was told")
    if plans:
        call("ChangeSchedules", selectors=[f"s{number}" for number in plans], action="pause")
    for job in clients.jobs:
        try:
            if job.remove is None:
                check_control(job)
        except Refused as error:
            fault(f"job {job.id} ({job.name}): {error}")
    check_output_max()
    clients.run("resume", "--all", "--quiet")
    for job in clients.jobs:
        if job.way == "endless" and "told" not in (job.stop, job.remove):
            with contextlib.suppress(Refused):  # a removal that was asked for
                clients.control_one(job, "stop")
    _, status = clients.run("wait", "--timeout", "120")
    if status not in (0, 3):
        fault(f"the jobs did not end: wait ended with status {status}")
    for cursor in clients.lines:
        if clients.receive_once(cursor) != 0:
            fault("receive failed")


def check_kept(schedule, plan, there, gone, what):
    """The runs that are there, and those that jobd removed."""
    if gone and not schedule.keep:
        fault(f"{what}: its runs {gone} were removed, and nobody asked for it")
    if plan is not None and schedule.keep and len(there) != min(schedule.keep, plan["runs"]):
        fault(f"{what}: {len(there)} runs are there of {plan['runs']}, "
              f"and the last {schedule.keep} were to be kept")
    if plan is not None and gone and there and max(gone) > min(there):
        fault(f"{what}: the runs {there} are there, and among {gone}, which are not, there are newer ones")


def check_schedule(schedule, plan, runs, gone):
    """runs: the rows of its jobs. gone: its jobs that jobd says it removed."""
    what = f"schedule s{schedule.id} ({schedule.name}, {schedule.way})"
    there = {row["id"] for row in runs}
    lost = set(schedule.told) - there - gone
    if lost:
        fault(f"{what}: the jobs {lost} of runs that were told are not there")
    check_kept(schedule, plan, there, gone, what)
    if plan is None:
        if schedule.remove is None:
            fault(f"{what} was told, and is not there")
        elif schedule.remove != "asked" and any(row["createdUsec"] > schedule.remove for row in runs):
            fault(f"{what} was removed, and made runs")
        return
    if schedule.remove not in (None, "asked"):
        fault(f"{what} was removed, and is there")
    if len(runs) + len(gone) != plan["runs"]:
        fault(f"{what}: {len(runs)} jobs, {len(gone)} removed, of {plan['runs']} runs")
    if schedule.way == "every":
        times = (plan["nextUsec"] - plan["createdUsec"]) // EVERY
    else:
        times = 0 if "nextUsec" in plan else 1
    # Each of its times was a run or was counted as skipped; the others were asked for
    beside = plan["runs"] + plan["skipped"] - times
    if not len(schedule.told) <= beside <= schedule.asked:
        fault(f"{what}: {plan['runs']} runs, {plan['skipped']} skipped of {times} times, "
              f"with {len(schedule.told)} to {schedule.asked} that were asked for")


def without_place(whole):
    """What is the same of a job wherever it is."""
    job, tasks, records = whole
    places = ("id", "name", "job", "position", "hasResults")
    return [{key: value for key, value in row.items() if key not in places} for row in (job, *tasks, *records)]


def check_imports(clients, listed):
    rows = {row["id"]: row for row in listed if (row.get("name") or "").startswith("import")}
    for number in sorted(set(clients.imports) - rows.keys()):
        fault(f"the id {number} of an import was told, and the job is not there")
    for number, row in rows.items():
        if without_place(whole_of(number)) != without_place(clients.sample):
            fault(f"job {number} ({row['name']}) is not what was imported")
    return rows.keys()


def check(clients):
    listed = [json.loads(line) for line in clients.run("list", "--all", "--json")[0]]
    rows = {row["id"]: row for row in listed}
    hidden = {job.id for job in clients.jobs if job.remove}
    pruned = pruned_runs()
    hidden |= set().union(*pruned.values()) - rows.keys()
    lines = clients.run("receive", "--again", "--all", "--json")[0]
    again = Results(lines, hidden)
    with open(LEDGER, encoding="utf-8") as ledger:
        runs = collections.Counter(tuple(line.rstrip("\n").split(" ", 1)) for line in ledger)
    tasks = collections.defaultdict(list)
    for task in again.ends:
        tasks[task[0]].append(task)
    for number in sorted(set(clients.ids) - rows.keys()):
        fault(f"id {number} was printed, and the job is not there")
    ids = clients.ids + clients.imports + [one.id for one in clients.jobs + clients.schedules]
    ids += [retry.id for job in clients.jobs for retry in job.retries]
    ids += [number for schedule in clients.schedules for number in schedule.told]
    if len(ids) != len(set(ids)):
        fault("an id was told twice")
    retried = collections.Counter(row["retryOf"] for row in listed if "retryOf" in row)
    if retried != collections.Counter(job.id for job in clients.jobs for _ in job.retries):
        fault(f"there are other retries than were told: {dict(retried)}")
    for name, count in collections.Counter(row.get("name") for row in listed if "retryOf" not in row).items():
        if name and not name.startswith("plan") and count > 1:
            fault(f"there are {count} jobs of the one token {name}")
    by_owner = collections.defaultdict(list)
    for line in clients.lines[""]:
        by_owner[json.loads(line).get("job")].append(line)
    for job in clients.jobs:
        if job.fate == ("take",) and job.id not in rows:
            check_taken(job, job.taken + ([] if job.taker else by_owner[job.id]), runs)
        check_job(job, rows.get(job.id), tasks, again, runs)
        for retry in job.retries:
            check_retry(retry, rows.get(retry.id), tasks, again, runs)
    plans = list_schedules()
    for schedule in clients.schedules:
        runs_of = [row for row in listed if row.get("schedule") == schedule.id]
        check_schedule(schedule, plans.get(schedule.id), runs_of, pruned[schedule.id] - rows.keys())
    if plans.keys() - {schedule.id for schedule in clients.schedules}:
        fault("there are schedules that nobody was told of")
    imported = check_imports(clients, listed)
    check_log(clients.readings, lines, hidden, imported)
    if clients.run("receive", "--again", "--json")[0] != lines:
        fault("all that there is, again, is something else than all that there is of the owner")
    planned = sum("schedule" in row for row in listed)
    print(f"{sum(job.held == 'told' for job in clients.jobs)} left paused, "
          f"{sum(len(job.kept) - len(job.to_adjust) for job in clients.jobs)} adjusted, "
          f"{sum(job.target == 'told' for job in clients.jobs)} with a target stopped, "
          f"{sum(len(job.retries) for job in clients.jobs)} retried, "
          f"{sum(job.fate == ('take',) and job.id not in rows for job in clients.jobs)} taken; "
          f"{len(clients.schedules)} schedules, {planned} runs, "
          f"{len(set().union(*pruned.values()))} pruned; "
          f"{len(imported)} imports, {len(clients.imports)} told", flush=True)
    for cursor, received in clients.lines.items():
        compare(Results(received, hidden), again, cursor)
    return again, runs
