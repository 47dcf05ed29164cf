#!/usr/bin/env python3
"""A small HTTP server for data_fetch_test.sh, on 127.0.0.1 only.

usage: data_fetch_server.py FOLDER PORTFILE LOGFILE

The first part of the address says how it misbehaves; the rest names a file:
  /ok/F         serves F, with ranges          /norange/F   ignores ranges
  /cut/N/F      every answer ends after N bytes (the connection is cut)
  /cutnr/N/F    the first answer is cut after N bytes; never any ranges
  /bad/F        right size, wrong bytes        /short/F     a shorter, complete answer
  /nowhere/F    404                            /slow/F      a few bytes at a time
Every request is one line of LOGFILE: path, a space, and the Range header or "-".
"""
import http.server
import os
import sys
import threading
import time

folder, portfile, logfile = sys.argv[1:4]
cut_once = set()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        with open(logfile, "a") as log:
            log.write("%s %s\n" % (self.path, asked or "-"))
        mode, _, name = self.path.lstrip("/").partition("/")
        limit = None
        if mode in ("cut", "cutnr"):
            n, _, name = name.partition("/")
            limit = int(n)
        path = os.path.join(folder, name)
        if mode == "nowhere" or ".." in name or not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as f:
            body = f.read()
        if mode == "bad":
            body = bytes(b ^ 0x55 for b in body)
        if mode == "short":
            body = b"<html>please log in</html>"
        start = 0
        ranges = mode in ("ok", "cut", "bad", "slow")
        if ranges and asked and asked.startswith("bytes=") and asked.endswith("-"):
            start = int(asked[6:-1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", "bytes */%d" % len(body))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(body) - 1, len(body)))
        else:
            self.send_response(200)
        if ranges:
            self.send_header("Accept-Ranges", "bytes")
        body = body[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mode == "cutnr":
            if self.path in cut_once:
                limit = None
            cut_once.add(self.path)
        if limit is not None:
            body = body[:limit]
        try:
            if mode == "slow":
                for i in range(0, len(body), 500):
                    self.wfile.write(body[i:i + 500])
                    self.wfile.flush()
                    time.sleep(0.1)
            else:
                self.wfile.write(body)
        except OSError:
            pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(portfile + ".new", "w") as f:
    f.write("%d\n" % server.server_address[1])
os.rename(portfile + ".new", portfile)


def leave_with_parent(parent):
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


threading.Thread(target=leave_with_parent, args=(os.getppid(),), daemon=True).start()
server.serve_forever()
