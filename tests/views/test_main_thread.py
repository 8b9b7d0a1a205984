"""Messages to widgets, which JupyterLab sends to a subshell, are heard and answered on the main thread."""

import pytest
from jupyter_client.manager import start_new_kernel

MADE = """
import asyncio, threading, time
import ipywidgets
from nextpyp_nb.views.main_thread import hear_on_main_thread

if {mended}:
    hear_on_main_thread()
    hear_on_main_thread()
text = ipywidgets.IntText()
heard = []

def hear(change):
    heard.append((change["new"], threading.current_thread() is threading.main_thread()))
    # What a handler sends decides where ipykernel sends the next message.
    text.description = str(change["new"])

text.observe(hear, "value")
print(text.model_id)
"""


def _until(client, done):
    """Messages of the kernel until ``done`` is true of one."""
    messages = []
    while not (messages and done(messages[-1])):
        messages.append(client.get_iopub_msg(timeout=30))
    return messages


def _idle(asked):
    """Whether a message says that all that was ``asked`` is done."""
    return lambda message: (
        message["content"].get("execution_state") == "idle" and message["parent_header"]["msg_id"] == asked
    )


def _printed(client, code):
    messages = _until(client, _idle(client.execute(code)))
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream").strip()


def _heard(mended, cell):
    """Five values set in a subshell, the last four while ``cell`` runs.

    What was heard and whether on the main thread, and how often each was said to be done.
    """
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        comm = _printed(client, MADE.format(mended=mended))
        client.control_channel.send(client.session.msg("create_subshell_request"))
        subshell = client.get_control_msg(timeout=30)["content"]["subshell_id"]

        def send(value):
            data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
            message = client.session.msg("comm_msg", {"comm_id": comm, "data": data})
            message["header"]["subshell_id"] = subshell
            client.shell_channel.send(message)
            return message["header"]["msg_id"]

        _until(client, _idle(send(1)))
        running = client.execute(cell)
        _until(client, lambda message: message["msg_type"] == "execute_input")
        sent = [send(value) for value in range(2, 6)]
        messages = _until(client, _idle(client.execute("time.sleep(0.5)")))
        done = [sum(_idle(asked)(message) for message in messages) for asked in (running, *sent)]
        return _printed(client, "print(heard)"), done
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("cell", ["time.sleep(1)", "await asyncio.sleep(1)"])
def test_messages_are_heard_on_the_main_thread_in_order_and_said_to_be_done(cell):
    assert _heard(True, cell) == (str([(value, True) for value in range(1, 6)]), [1] * 5)


def test_ipykernel_alone_hears_them_in_another_thread():
    assert "False" in _heard(False, "time.sleep(1)")[0]
