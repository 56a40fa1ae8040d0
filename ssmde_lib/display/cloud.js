document.querySelectorAll("canvas[data-places]").forEach((canvas) => {
  const { places, colours, turn } = canvas.dataset;
  delete canvas.dataset.places; // each cloud starts once
  const gl = canvas.getContext("webgl");
  if (!gl) return; // the picture stays
  canvas.previousElementSibling.style.display = "none";
  canvas.style.display = canvas.nextElementSibling.style.display = "block";
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const shader = (kind, source) => {
    const made = gl.createShader(kind);
    gl.shaderSource(made, source);
    gl.compileShader(made);
    gl.attachShader(program, made);
  };
  const program = gl.createProgram();
  shader(gl.VERTEX_SHADER, `
    attribute vec3 place, colour; uniform vec2 turn; uniform float zoom, aspect, size; varying vec3 shown;
    void main() {
      vec3 p = (place - 0.5) * vec3(1, -1, -1); // x right, y up, z towards the eye
      float c = cos(turn.x), s = sin(turn.x), d = cos(turn.y), t = sin(turn.y);
      p = vec3(c * p.x + s * p.z, p.y, c * p.z - s * p.x);
      p = vec3(p.x, d * p.y - t * p.z, d * p.z + t * p.y);
      float w = 1.7 - p.z;
      gl_Position = vec4(zoom * 3.2 * p.x / aspect, zoom * 3.2 * p.y, (w - 1.2) * 0.8, w);
      gl_PointSize = size * zoom / w;
      shown = colour;
    }`);
  shader(gl.FRAGMENT_SHADER, "precision mediump float; varying vec3 shown; void main() { gl_FragColor = vec4(shown, 1); }");
  gl.linkProgram(program);
  gl.useProgram(program);
  const fill = (name, array, kind) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
    const at = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 3, kind, true, 0, 0);
  };
  const stored = bytes(places);
  fill("place", stored, gl.UNSIGNED_SHORT);
  fill("colour", bytes(colours), gl.UNSIGNED_BYTE);
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(1, 1, 1, 1);
  const set = (name, ...values) => gl[`uniform${values.length}f`](gl.getUniformLocation(program, name), ...values);
  const home = turn.split(",").map((degrees) => (degrees * Math.PI) / 180);
  let [yaw, pitch] = home, zoom = 1;
  const draw = () => {
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * scale, height * scale];
    gl.viewport(0, 0, canvas.width, canvas.height);
    set("turn", yaw, pitch);
    set("zoom", zoom);
    set("aspect", width / height);
    set("size", Math.max(3, width / 130) * scale);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.drawArrays(gl.POINTS, 0, stored.length / 6);
  };
  const move = (right, up, closer = 1) => {
    yaw += right;
    pitch = Math.min(1.5, Math.max(-1.5, pitch + up));
    zoom = Math.min(8, Math.max(0.4, zoom * closer));
    draw();
  };
  const keys = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1], "+": [0, 0, 1.2], "-": [0, 0, 1 / 1.2] };
  canvas.onkeydown = (event) => { if (keys[event.key]) { event.preventDefault(); event.stopPropagation(); move(...keys[event.key]); } };
  canvas.onpointerdown = (event) => canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = (event) => { if (event.buttons) move(event.movementX / 150, event.movementY / 150); };
  canvas.ondblclick = () => { [yaw, pitch, zoom] = [...home, 1]; draw(); };
  new ResizeObserver(draw).observe(canvas);
});
