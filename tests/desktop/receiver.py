"""A desktop's notification service: owns org.freedesktop.Notifications on the session bus and appends each message as a line of JSON."""

import json
import sys

from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call, new_method_return
from jeepney.io.blocking import open_dbus_connection

BUS = DBusAddress("/org/freedesktop/DBus", bus_name="org.freedesktop.DBus", interface="org.freedesktop.DBus")
ANSWERS = {
    "GetServerInformation": ("ssss", ("receiver", "millpond", "1", "1.2")),
    "GetCapabilities": ("as", (["body", "body-markup"],)),
    "Notify": ("u", (1,)),
}

connection = open_dbus_connection(bus="SESSION")
asked = new_method_call(BUS, "RequestName", "su", ("org.freedesktop.Notifications", 4))
assert connection.send_and_get_reply(asked).body[0] == 1
with open(sys.argv[1], "w", encoding="utf-8") as out:
    while True:
        message = connection.receive()
        if message.header.message_type is not MessageType.method_call:
            continue
        member = message.header.fields[HeaderFields.member]
        if member == "Notify":
            program, _, _, title, body, _, _, _ = message.body
            print(json.dumps({"program": program, "title": title, "body": body}), file=out, flush=True)
        connection.send(new_method_return(message, *ANSWERS[member]))
