#!/usr/bin/env bash
# FastAPI 0.165.0 with Starlette 1.10.0: `FastAPI(max_body_size=...)` refuses a
# body that is too large in one of two ways, by how the client tells its size.
#
# Sent in chunks, without Content-Length: the app's own handler for 413 answers,
# through the app's middleware, so a browser gets its CORS header.
# With Content-Length, as nearly every client sends it: the handler runs and its
# answer passes the middleware, but what is sent is another one, plain text and
# without the headers that middleware has set. A page of another origin can't
# read it: its script sees a failed request and no 413. The same holds for a
# path that doesn't exist: 404 in chunks, 413 with Content-Length.
#
# Seen:
# Content-Length: 413 text/plain; charset=utf-8 'Content Too Large' CORS None
# in chunks: 413 application/json '{"own":"too large"}' CORS https://a.example
# no such path, Content-Length: 413 text/plain; charset=utf-8 'Content Too Large' CORS None
# no such path, in chunks: 404 application/json '{"detail":"Not Found"}' CORS https://a.example
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fastapi==0.165.0 starlette==1.10.0 httpx2==2.16.2
cat > "$folder/large.py" <<'PY'
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

app = FastAPI(max_body_size=10)
app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])


@app.exception_handler(413)
async def too_large(request, error):
    return JSONResponse({"own": "too large"}, 413)


@app.post("/")
def take(values: list[float]):
    return len(values)


client = TestClient(app)
body = b"[1.0, 2.0, 3.0]"
for path, name in (("/", ""), ("/none", "no such path, ")):
    for told, content in (("Content-Length", body), ("in chunks", iter([body]))):
        answer = client.post(
            path, content=content, headers={"Origin": "https://a.example"}
        )
        print(
            f"{name}{told}: {answer.status_code}",
            answer.headers["content-type"],
            repr(answer.text),
            "CORS",
            answer.headers.get("access-control-allow-origin"),
        )
PY
found=$("$folder/venv/bin/python" "$folder/large.py")
echo "$found"
[ "$found" = "$(sed -n 's/^# \(.*: [0-9]* .* CORS .*\)$/\1/p' "$0")" ] \
  || { echo "this has changed"; exit 1; }
