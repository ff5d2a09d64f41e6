// The microphone: each recording is handed over as a file.
(() => {
  // A recording as 32-bit float WAV, as the sound converter reads it.
  function wavFile(buffer) {
    const channels = buffer.numberOfChannels, frames = buffer.length;
    const bytes = new DataView(new ArrayBuffer(44 + frames * channels * 4));
    const text = (at, letters) => [...letters].forEach((l, i) => bytes.setUint8(at + i, l.charCodeAt(0)));
    text(0, "RIFF"); bytes.setUint32(4, 36 + frames * channels * 4, true); text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true); bytes.setUint16(20, 3, true); bytes.setUint16(22, channels, true);
    bytes.setUint32(24, buffer.sampleRate, true); bytes.setUint32(28, buffer.sampleRate * channels * 4, true);
    bytes.setUint16(32, channels * 4, true); bytes.setUint16(34, 32, true);
    text(36, "data"); bytes.setUint32(40, frames * channels * 4, true);
    for (let c = 0; c < channels; c++) {
      buffer.getChannelData(c).forEach((sample, i) => bytes.setFloat32(44 + (i * channels + c) * 4, sample, true));
    }
    return new File([bytes.buffer], "recording.wav", { type: "audio/wav" });
  }

  // What a Record button does: begin, or end. root has the class "recording" meanwhile; taken(file) gets the sound.
  window.Sonopaint.recorder = ({ root, say, taken }) => {
    let recorder = null;
    return async () => {
      if (recorder) { recorder.stop(); return; }
      try {
        const stream = await navigator.mediaDevices.getUserMedia({
          audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
        const parts = [];
        recorder = new MediaRecorder(stream);
        recorder.ondataavailable = (event) => parts.push(event.data);
        recorder.onstop = async () => {
          recorder = null;
          stream.getTracks().forEach((track) => track.stop());
          root.classList.remove("recording");
          const context = new AudioContext();
          const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
          context.close();
          taken(wavFile(sound));
        };
        recorder.start();
        root.classList.add("recording");
        say("Recording … press Record again to stop.");
      } catch {
        recorder = null;
        say("The microphone can't be used: allow it in the browser's address bar, or open a file instead.");
      }
    };
  };
})();
