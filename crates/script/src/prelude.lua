-- Makes the worlds of runs. Given once: what every script finds (`base`), Lua's own libraries and
-- ours (`libraries`), what `redis` has beside its commands (`common`), where a script stands, and
-- what an error that is no text and no table says. Gives what runs a script, what loads a library,
-- and what calls a function of one.
local base, libraries, common, line_of_script, text_of = ...
local error, tostring, type, xpcall, setmetatable = error, tostring, type, xpcall, setmetatable
local pcall, next, getmetatable, rawset, pairs = pcall, next, getmetatable, rawset, pairs

local READ_ONLY = "Attempt to modify a readonly table"

local function frozen()
    error(READ_ONLY, 2)
end

-- What is shown in place of the metatable of what cannot be written to.
local seal = {}
setmetatable(seal, { __newindex = frozen, __metatable = seal })

function base.setmetatable(of, ...)
    if getmetatable(of) == seal then
        error(READ_ONLY, 2)
    end
    return setmetatable(of, ...)
end

function base.rawset(to, ...)
    if getmetatable(to) == seal then
        error(READ_ONLY, 2)
    end
    return rawset(to, ...)
end

-- What a table shows, for `pairs`. It must not lead back to the table, or both would stay.
local inside = setmetatable({}, { __mode = "k" })

function base.pairs(of, ...)
    local all = of ~= nil and inside[of]
    if not all then
        return pairs(of, ...)
    end
    return function(_, name)
        return next(all, name)
    end, of, nil
end

-- As in Redis 7, what `redis.call` has raised is a text for those who catch it.
local function caught(good, problem, ...)
    if not good and type(problem) == "table" and problem.err ~= nil then
        problem = problem.err
    elseif not good and type(problem) == "userdata" then
        problem = text_of(problem)
    end
    return good, problem, ...
end

function base.pcall(...)
    return caught(pcall(...))
end

local absent = {
    __index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
}
setmetatable(base, absent)

-- A table that shows another one and cannot be written to.
local function shown(of)
    local shows = setmetatable({}, { __index = of, __newindex = frozen, __metatable = seal })
    inside[shows] = of
    return shows
end

local function explained(problem)
    if type(problem) == "userdata" then
        local text, whole = text_of(problem)
        problem = { err = whole and text or "ERR " .. text }
    elseif type(problem) ~= "table" then
        problem = { err = "ERR " .. tostring(problem) }
    end
    if problem.line == nil then
        problem.line = line_of_script()
    end
    return problem
end

-- What is the same in the worlds of scripts and of functions; `whole` is what is seen of it.
local function furnished(world, whole, setfenv, compile, call, pcalled, log, setresp, may)
    local own = { call = call, pcall = pcalled, log = log, setresp = setresp, acl_check_cmd = may }
    world.redis = shown(setmetatable(own, { __index = common }))
    world.server = world.redis
    for name, library in next, libraries do
        world[name] = shown(library)
    end
    world._G = whole
    function world.loadstring(text, name)
        local chunk, problem = compile(text, name)
        if chunk then
            setfenv(chunk, whole)
        end
        return chunk, problem
    end
    return world
end

local function run(script, setfenv, compile, call, pcalled, log, setresp, may, keys, arguments)
    local world = setmetatable({ KEYS = keys, ARGV = arguments }, { __index = base })
    local whole = setmetatable({}, { __index = world, __newindex = frozen, __metatable = seal })
    furnished(world, whole, setfenv, compile, call, pcalled, log, setresp, may)
    setfenv(script, whole)
    return xpcall(script, explained)
end

-- Functions keep the world in which their library was loaded: it shows what there is at the time.
local there = {}
local lasting = setmetatable({}, {
    __index = function(_, name)
        local value = there[name]
        if value == nil then
            error(
                "Script attempted to access nonexistent global variable '" .. tostring(name) .. "'",
                2
            )
        end
        return value
    end,
    __newindex = frozen,
    __metatable = seal,
})

-- What a library finds while it is loaded, by either name.
local function loading(register, log)
    local own = { register_function = register, log = log }
    for name, value in next, common do
        if type(value) == "number" or type(value) == "string" then
            own[name] = value
        end
    end
    return shown(setmetatable(own, absent))
end

local function load(library, setfenv, register, register_by_server, log)
    there = { redis = loading(register, log), server = loading(register_by_server, log) }
    setfenv(library, lasting)
    local good, problem = xpcall(library, explained)
    there = {}
    return good, problem
end

local function invoke(callback, setfenv, compile, call, pcalled, log, setresp, may, keys, arguments)
    local world = {}
    for name, value in next, base do
        world[name] = value
    end
    there = furnished(world, lasting, setfenv, compile, call, pcalled, log, setresp, may)
    local good, value = xpcall(function()
        return (callback(keys, arguments))
    end, explained)
    there = {}
    return good, value
end

return { run = run, load = load, invoke = invoke }
