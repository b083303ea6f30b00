"""/files: bulk upload and download, listing, folders, deletion."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .errors import ToolboxError, json_body

FIELD = re.compile(r"files\[(\d+)\]\.(path|file)")
BOUNDARY = "DAYTONA-FILE-BOUNDARY"
LIMIT = 100_000
"""Most parts in one upload."""


def _not_found(path: str) -> ToolboxError:
    return ToolboxError(404, f"file not found: {path}", "FILE_NOT_FOUND")


async def bulk_upload(request: Request) -> JSONResponse:
    """Multipart `files[i].path` and `files[i].file`; a relative path is below the working directory."""
    paths: dict[str, str] = {}
    contents: dict[str, UploadFile] = {}
    async with request.form(max_files=LIMIT, max_fields=LIMIT) as form:
        for name, value in form.multi_items():
            field = FIELD.fullmatch(name)
            if field and isinstance(value, UploadFile):
                contents[field[1]] = value
            elif field and isinstance(value, str):
                paths[field[1]] = value.strip()
        errors, files = await asyncio.to_thread(_store, paths, contents)
    if errors:
        return JSONResponse({"errors": errors, "files": files}, 400)
    return JSONResponse({"files": files})


def _store(paths: dict[str, str], contents: dict[str, UploadFile]) -> tuple[list[str], list[dict[str, object]]]:
    errors: list[str] = []
    files: list[dict[str, object]] = []
    for index, content in contents.items():
        path = paths.get(index)
        if not path:
            errors.append(f"file[{index}]: missing .path metadata")
            continue
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with Path(path).open("wb") as file:
                shutil.copyfileobj(content.file, file)
        except OSError as error:
            errors.append(f"{path}: create: {error}")
        else:
            files.append({"path": path, "bytes": Path(path).stat().st_size})
    return errors, files


async def upload_one(request: Request) -> Response:
    async with request.form() as form:
        content = form["file"]
        if not isinstance(content, UploadFile):
            raise ToolboxError(400, "the multipart field 'file' must be a file")
        errors, files = await asyncio.to_thread(_store, {"0": request.query_params["path"]}, {"0": content})
    if errors:
        raise ToolboxError(400, errors[0])
    return JSONResponse(files[0])


def download_one(request: Request) -> FileResponse:
    path = request.query_params["path"]
    if not Path(path).is_file():
        raise _not_found(path)
    return FileResponse(path, media_type="application/octet-stream")


async def bulk_download(request: Request) -> Response:
    """One multipart part a path: `file` with its content, or `error` with the envelope in JSON."""
    paths = (await json_body(request)).get("paths")
    if not isinstance(paths, list) or not paths:
        raise ToolboxError(400, 'request body must be {"paths": [...]} and non-empty')
    return StreamingResponse(_parts(request, paths), media_type=f"multipart/form-data; boundary={BOUNDARY}")


def _parts(request: Request, paths: list[str]) -> Iterator[bytes]:
    for path in paths:
        error = _download_refusal(path)
        if error:
            yield _part_head("error", path, "application/json")
            yield json.dumps(error.envelope(request)).encode() + b"\r\n"
            continue
        size = Path(path).stat().st_size
        yield _part_head("file", path, f"application/octet-stream\r\nContent-Length: {size}")
        with Path(path).open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk
        yield b"\r\n"
    yield f"--{BOUNDARY}--\r\n".encode()


def _download_refusal(path: str) -> ToolboxError | None:
    if not path:
        return ToolboxError(400, "invalid file path: path is empty", "INVALID_FILE_PATH")
    if Path(path).is_dir():
        return ToolboxError(400, f"invalid file path: path points to a directory: {path}", "INVALID_FILE_PATH")
    return None if Path(path).is_file() else _not_found(path)


def _part_head(name: str, path: str, content_type: str) -> bytes:
    plain = re.sub(r'[^\x20-\x7e]|["\\]', "_", path)
    disposition = f'form-data; name="{name}"; filename="{plain}"; filename*=utf-8\'\'{quote(path, safe="")}'
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n".encode()


def list_files(request: Request) -> JSONResponse:
    path = request.query_params.get("path") or str(Path.cwd())
    if not Path(path).is_dir():
        raise _not_found(path)
    return JSONResponse([_info(entry) for entry in sorted(Path(path).iterdir())])


def file_info(request: Request) -> JSONResponse:
    path = request.query_params["path"]
    if not os.path.lexists(path):
        raise _not_found(path)
    return JSONResponse(_info(Path(path)))


def delete_file(request: Request) -> Response:
    path = request.query_params["path"]
    if not os.path.lexists(path):
        raise _not_found(path)
    if not Path(path).is_dir() or Path(path).is_symlink():
        Path(path).unlink()
    elif request.query_params.get("recursive") == "true":
        shutil.rmtree(path)
    else:
        raise ToolboxError(400, "cannot delete directory without recursive flag")
    return Response(status_code=204)


def create_folder(request: Request) -> Response:
    mode = int(request.query_params.get("mode") or "755", 8)
    Path(request.query_params["path"]).mkdir(mode, parents=True, exist_ok=True)
    return Response(status_code=201)


def _info(path: Path) -> dict[str, object]:
    status = path.lstat()
    modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
    return {
        "name": path.name,
        "path": str(path),
        "isDir": stat.S_ISDIR(status.st_mode),
        "size": status.st_size,
        "modTime": modified,
        "modifiedAt": modified,
        "mode": stat.filemode(status.st_mode),
        "permissions": f"{stat.S_IMODE(status.st_mode):04o}",
        "owner": _name_of(lambda: pwd.getpwuid(status.st_uid).pw_name, status.st_uid),
        "group": _name_of(lambda: grp.getgrgid(status.st_gid).gr_name, status.st_gid),
    }


def _name_of(look_up: Callable[[], str], number: int) -> str:
    try:
        return look_up()
    except KeyError:  # an id without a name in this sandbox
        return str(number)


routes = [
    Route("/files", list_files, methods=["GET"]),
    Route("/files", delete_file, methods=["DELETE"]),
    Route("/files/info", file_info, methods=["GET"]),
    Route("/files/folder", create_folder, methods=["POST"]),
    Route("/files/bulk-upload", bulk_upload, methods=["POST"]),
    Route("/files/upload-v2", upload_one, methods=["POST"]),
    Route("/files/download", download_one, methods=["GET"]),
    Route("/files/bulk-download", bulk_download, methods=["POST"]),
]
