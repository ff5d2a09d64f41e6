// What Sonopaint wrote into a WAV's comment (RIFF chunk LIST/INFO/ICMT): {prompt, workflow} of ComfyUI, or null.
export async function workflowOfWav(file) {
  const bytes = new DataView(await file.arrayBuffer());
  const name = (at) => String.fromCharCode(...new Uint8Array(bytes.buffer, at, 4));
  if (bytes.byteLength < 12 || name(0) !== "RIFF" || name(8) !== "WAVE") return null;
  for (let at = 12; at + 8 <= bytes.byteLength;) {
    const size = bytes.getUint32(at + 4, true);
    if (name(at) === "LIST" && at + 12 <= bytes.byteLength && name(at + 8) === "INFO") {
      const end = Math.min(at + 8 + size, bytes.byteLength);
      for (let item = at + 12; item + 8 <= end;) {
        const length = bytes.getUint32(item + 4, true);
        if (name(item) === "ICMT") {
          const text = new TextDecoder().decode(new Uint8Array(bytes.buffer, item + 8, Math.min(length, end - item - 8)));
          try {
            return JSON.parse(text.replace(/\0+$/, "")).comfyui ?? null;
          } catch {
            return null;
          }
        }
        item += 8 + length + (length % 2);
      }
    }
    at += 8 + size + (size % 2);
  }
  return null;
}
