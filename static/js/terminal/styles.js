// xterm.js makes <style> elements while it runs. With the page's nonce on them the strict policy lets them be; see
// TERMINAL in cube/csp.py. Import this before xterm.
const nonce = document.querySelector("script[nonce]").nonce;
const create = document.createElement.bind(document);

document.createElement = (name, options) => {
  const made = create(name, options);
  if (String(name).toLowerCase() === "style") made.nonce = nonce;
  return made;
};
