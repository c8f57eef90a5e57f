// What the editor asks of the server. Refusals come back as values: `status` and `body`; only a lost connection throws.

const token = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

async function ask(url, body, type) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "X-CSRFToken": token(), "X-Requested-With": "fetch", ...(type && { "Content-Type": type }) },
    body,
  });
  const isJson = (answer.headers.get("Content-Type") ?? "").includes("json");
  return { status: answer.status, ok: answer.ok, body: isJson ? await answer.json() : await answer.text() };
}

export const postJson = (url, value) => ask(url, JSON.stringify(value), "application/json");
export const postForm = (url, form) => ask(url, form);
