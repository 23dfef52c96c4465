// A file on its way to the controller, with progress: `fetch` does not tell how much was sent, this does.
import { Problem, el, size } from "../search/common.js";
import { signIn } from "../api.js";

/** POST a file as it is; `row` shows how far it is. Gives the JSON answer, throws `Problem`. */
export function send(path, query, file, row) {
  const bar = el("progress", { max: 1, value: 0, "aria-label": `Sending ${file.name}` });
  const words = el("span", { class: "hint", role: "status" }, "");
  row?.append(bar, words);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${path}?${new URLSearchParams(query)}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => {
      bar.value = event.loaded / Math.max(event.total, 1);
      words.textContent = event.loaded < event.total ? `${size(event.loaded)} of ${size(event.total)}` : "Sent; being read…";
      if (event.loaded === event.total) bar.removeAttribute("value");
    };
    request.onload = () => {
      bar.remove();
      words.textContent = request.status < 300 ? "Done" : "Refused";
      if (request.status === 401) signIn();
      if (request.status < 300) resolve(request.response);
      else reject(new Problem(request.status, request.response || {}));
    };
    request.onerror = () => {
      bar.remove();
      reject(new Problem(0, { message: `${file.name} could not be sent.`, remedy: "Look whether the controller runs, and whether the file is still there." }));
    };
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(file);
  });
}
